"""Backups with the programs of MySQL and of MariaDB, from and to servers of both, with TLS and without."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.certs import SERVER, Authority
from support.installed import Installed, count, forget_written_keys, quiet
from support.mysql import MySQL, client_programs
from support.servers import MariaDB, SqlServer, program

from messagebroker.db import connection, inspection, schema
from messagebroker.db.connection import connected, open_database
from messagebroker.db.models import Message
from messagebroker.errors import ConfigurationError, Unavailable
from messagebroker.ops import backup, doctor_database, dump, dump_tools, restore
from messagebroker.ops.doctor_database import RIGHTS

pytestmark = pytest.mark.tier("mysql")
ENOUGH = ", ".join(sorted(RIGHTS | {"LOCK TABLES", "TRIGGER", "EVENT"}))
"""What `doctor` asks for."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with `mysql` and `mysqldump`, by whose they are."""
    folder = tmp_path_factory.mktemp("programs")
    client_programs(folder / "mysql")
    (folder / "mariadb").mkdir()
    for name, real in (("mysql", "mariadb"), ("mysqldump", "mariadb-dump")):
        (folder / "mariadb" / name).symlink_to(program(real))
    return {"mysql": folder / "mysql", "mariadb": folder / "mariadb"}


@pytest.fixture
def using(programs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says whose programs are installed: `using("mysql")`, or `using(dumper, loader)`."""

    def choose(dumper: str, loader: str | None = None) -> None:
        monkeypatch.setattr(dump_tools, "dumper", lambda: str(programs[dumper] / "mysqldump"))
        monkeypatch.setattr(dump_tools, "loader", lambda: str(programs[loader or dumper] / "mysql"))

    return choose


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("database-ca"))


@pytest.fixture(scope="module")
def strict_server(authority: Authority) -> Iterator[MySQL]:
    """Refuses whoever does not use TLS, and has a binary log; its certificate is for localhost and 127.0.0.1."""
    server = MySQL()
    issued = authority.issue("database", uris=[], usages=[SERVER], hosts=True)
    files = {name: server.folder / name for name in ("ca.crt", "server.crt", "server.key")}
    for source, target in zip((authority.crt, issued.crt, issued.key), files.values(), strict=True):
        shutil.copyfile(source, target)
    server.options = (
        f"--ssl-ca={files['ca.crt']}", f"--ssl-cert={files['server.crt']}", f"--ssl-key={files['server.key']}",
        "--require-secure-transport=ON", "--log-bin",
    )  # fmt: skip
    with server:
        yield server


@pytest.fixture(scope="module")
def plain_server() -> Iterator[MySQL]:
    """Without TLS: passwords go to it encrypted with its public key."""
    with MySQL("--tls-version=") as server:
        yield server


@pytest.fixture
def installed_on(tmp_path: Path) -> Iterator[Any]:
    """An installation with an upgraded database at a URL."""

    def install(url: str, name: str = "here") -> Installed:
        forget_written_keys()
        installed = Installed(tmp_path / name, database_url=url)
        open_database(installed.settings)
        with connected():
            schema.upgrade()
        return installed

    yield install
    opened = connection.database.obj
    if isinstance(opened, connection.MySQL):
        opened.close_all()


@pytest.mark.parametrize("loader", ["mysql", "mariadb"])
@pytest.mark.parametrize("dumper", ["mysql", "mariadb"])
@pytest.mark.parametrize("server", ["mysql", "mariadb"])
def test_each_ones_programs_dump_and_load_each_server(
    request: pytest.FixtureRequest, using: Any, installed_on: Any, tmp_path: Path, server: str, dumper: str, loader: str
) -> None:
    at: SqlServer = request.getfixturevalue(f"{server}_server")
    installed = installed_on(at.fresh_user("programs", "programs", ENOUGH))
    using(dumper, loader)
    strange = "it's \\ a 'row', (\"really\"); INSERT INTO `messages` VALUES (1)\n\0\x1a%s ü 日本 🙂"
    installed.store(30, correlation_id=strange)
    target = io.BytesIO()
    rows = dump.write(installed.settings, target, scratch=tmp_path)
    assert rows == inspection.count_rows()
    inspection.drop_all_tables()
    target.seek(0)
    dump.load(installed.settings, target, scratch=tmp_path)
    assert inspection.count_rows() == rows
    assert {row.correlation_id for row in Message.select()} == {strange}


@pytest.mark.parametrize("whose", ["mysql", "mariadb"])
def test_a_dump_of_one_server_loads_into_the_other(
    mysql_server: MySQL, mariadb_server: MariaDB, using: Any, installed_on: Any, tmp_path: Path, whose: str
) -> None:
    """Moving house, in both directions."""
    using(whose)
    for source, goal in ((mysql_server, mariadb_server), (mariadb_server, mysql_server)):
        installed = installed_on(source.fresh_user("moving", "moving", ENOUGH), "source")
        installed.store(20)
        target = io.BytesIO()
        rows = dump.write(installed.settings, target, scratch=tmp_path)
        moved = installed_on(goal.fresh_user("moving", "moving", ENOUGH), "goal")
        inspection.drop_all_tables()
        target.seek(0)
        dump.load(moved.settings, target, scratch=tmp_path)
        assert inspection.count_rows() == rows
        shutil.rmtree(tmp_path / "source")
        shutil.rmtree(tmp_path / "goal")


@pytest.mark.parametrize("whose", ["mysql", "mariadb"])
def test_backup_and_restore_without_tls(plain_server: MySQL, using: Any, installed_on: Any, whose: str) -> None:
    url = plain_server.fresh_user("plain", "pläin", ENOUGH)
    plain_server.execute("FLUSH PRIVILEGES")  # forgets who has logged in before
    installed = installed_on(url)  # our own login is remembered; MariaDB's programs on Debian cannot make the first one
    using(whose)
    installed.store(10)
    path = backup.create(installed.settings)
    installed.store(5)
    restore.restore(installed.settings, path, installed.recovery_key)
    assert count() == 10
    assert any("not encrypted" in finding.text for finding in doctor_database.check(installed.settings))


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("whose", ["mysql", "mariadb"])
def test_backup_and_restore_where_tls_is_demanded(
    strict_server: MySQL, authority: Authority, using: Any, installed_on: Any, whose: str, checked: bool
) -> None:
    url = strict_server.fresh_user("strict", "strict", ENOUGH) + (f"?ssl_ca={authority.crt}" if checked else "")
    installed = installed_on(url)
    using(whose)
    installed.store(10)
    path = backup.create(installed.settings)
    installed.store(5)
    restore.restore(installed.settings, path, installed.recovery_key)
    assert count() == 10
    [said] = [finding.text for finding in doctor_database.check(installed.settings) if "TLSv1" in finding.text]
    assert said.endswith("is checked") is checked


@pytest.mark.parametrize("whose", ["mysql", "mariadb"])
def test_a_server_of_another_ca_is_refused(
    strict_server: MySQL, using: Any, installed_on: Any, tmp_path: Path, whose: str
) -> None:
    url = strict_server.fresh_user("strict", "strict", ENOUGH)
    installed_on(url)
    other = Authority(tmp_path / "other-ca").crt
    settings = quiet(tmp_path / "here", database_url=f"{url}?ssl_ca={other}")
    using(whose)
    with pytest.raises(Unavailable, match=r"(?i)certificate|TLS|SSL"):
        dump.write(settings, io.BytesIO(), scratch=tmp_path)
    opened = open_database(settings)
    with pytest.raises(Unavailable, match="certificate verify failed"), connected():
        pass
    opened.close_all()


def test_a_server_of_another_name_is_refused(mysql_server: MySQL, installed_on: Any, tmp_path: Path) -> None:
    """The certificate that MySQL makes for itself is of its own CA, but for no host."""
    own_ca = mysql_server.folder / "data" / "ca.pem"
    copy = tmp_path / "ca.pem"
    shutil.copyfile(own_ca, copy)
    with pytest.raises(Unavailable, match="certificate verify failed"):
        installed_on(f"{mysql_server.url()}?ssl_ca={copy}")


def test_a_ca_that_is_not_there_is_named(mysql_server: MySQL, installed_on: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"ssl_ca=nowhere\.crt, but there is no file .*put the server's CA there"):
        installed_on(f"{mysql_server.url()}?ssl_ca=nowhere.crt")
