"""Certificates that cannot be used, and ports that cannot be listened on."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest
from support.certs import Authority

from messagebroker.errors import ConfigurationError
from messagebroker.http.listeners import listen
from messagebroker.http.tls import server_context
from messagebroker.ops import metrics
from messagebroker.settings import Settings, load


@pytest.fixture
def own(tmp_path: Path) -> tuple[Authority, Settings]:
    made = Authority(tmp_path / "certs")
    made.component("proxy")
    return made, load({}, data_dir=tmp_path, environment="test")


def test_the_end_of_the_certificate_is_a_metric(own: tuple[Authority, Settings]) -> None:
    server_context(own[1], "proxy")
    end = metrics.REGISTRY.get_sample_value("messagebroker_certificate_expiry_timestamp_seconds", {"name": "proxy"})
    assert end
    assert end > 1_700_000_000


def test_unchanged_files_are_not_read_again(own: tuple[Authority, Settings]) -> None:
    tls = server_context(own[1], "proxy")
    before = tls.current
    assert not tls.refresh()
    assert not tls.refresh()
    assert tls.current is before


@pytest.mark.parametrize("name", ["proxy.crt", "proxy.key", "ca.crt"])
def test_a_missing_file_is_named(own: tuple[Authority, Settings], name: str) -> None:
    (own[0].folder / name).unlink()
    with pytest.raises(ConfigurationError, match=name):
        server_context(own[1], "proxy")


def test_a_file_that_goes_is_reported_once_and_taken_up_when_it_comes_back(
    own: tuple[Authority, Settings], caplog: pytest.LogCaptureFixture
) -> None:
    tls = server_context(own[1], "proxy")
    before = tls.current
    (own[0].folder / "proxy.crt").unlink()
    with caplog.at_level(logging.ERROR):
        assert [tls.refresh() for _ in range(3)] == [False] * 3
    assert len(caplog.records) == 1
    assert tls.current is before
    own[0].component("proxy")
    assert [tls.refresh() for _ in range(3)] == [False, True, False]  # it takes two looks
    assert tls.current is not before


def test_a_key_of_another_certificate_is_refused(own: tuple[Authority, Settings]) -> None:
    other = own[0].component("main")
    (own[0].folder / "proxy.key").write_bytes(other.key.read_bytes())
    with pytest.raises(ConfigurationError, match=r"proxy\.crt.*proxy\.key"):
        server_context(own[1], "proxy")


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}.*doctor"):
            listen("127.0.0.1", port)


def test_a_host_that_is_not_here_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"host\.invalid"):
        listen("host.invalid", 0)


def test_all_addresses_of_a_name_share_one_port() -> None:
    sockets = listen("localhost", 0)
    try:
        assert len({made.getsockname()[1] for made in sockets}) == 1
        with socket.create_connection(("127.0.0.1", sockets[0].getsockname()[1])):
            pass
    finally:
        for made in sockets:
            made.close()


def test_every_address_takes_ipv4_too() -> None:
    for host in ("", "0.0.0.0"):
        sockets = listen(host, 0)
        with socket.create_connection(("127.0.0.1", sockets[0].getsockname()[1])):
            pass
        for made in sockets:
            made.close()
