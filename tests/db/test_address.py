from __future__ import annotations

from pathlib import Path

import pytest

from messagebroker.db.address import Address
from messagebroker.errors import ConfigurationError
from messagebroker.settings import load


def address(folder: Path, url: str) -> Address:
    return Address.of(load({}, data_dir=folder, environment="test", database_url=url))


def test_a_url_is_taken_apart(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    found = address(tmp_path, "mysql://system%40user:p%2Fw%25@db.example.org:3307/message%2Dsystem?ssl_ca=ca.pem")
    assert found == Address(
        host="db.example.org",
        port=3307,
        user="system@user",
        password="p/w%",
        name="message-system",
        ssl_ca=tmp_path / "ca.pem",
    )
    assert "p/w%" not in repr(found)


def test_what_is_left_out_has_its_usual_value(tmp_path: Path) -> None:
    found = address(tmp_path, "mariadb://u@db/message_system?unix_socket=/run/mysqld/mysqld.sock&charset=utf8mb4")
    assert (found.port, found.password, found.unix_socket, found.ssl_ca) == (3306, "", "/run/mysqld/mysqld.sock", None)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u:p@db", "names no database"),
        ("mysql://u:p@db/x?ssl-ca=f", "unknown option ssl-ca; there are unix_socket, ssl_ca, charset"),
        ("mysql://u:p@db/x?charset=latin1", "another charset than utf8mb4"),
        ("mysql://u:p@db/x?ssl_ca=none.pem", "there is no file .*none.pem"),
    ],
)
def test_what_would_be_misunderstood_is_refused(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        address(tmp_path, url)


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("localhost", True),
        ("database", True),
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("8.8.8.8", False),
        ("db.example.org", False),
    ],
)
def test_which_servers_are_near(tmp_path: Path, host: str, near: bool) -> None:
    assert address(tmp_path, f"mysql://u:p@{host}/x").is_near is near
