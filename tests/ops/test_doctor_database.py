from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import peewee as pw
import pytest
from support.installed import quiet, url_of
from support.mysql import MySQL
from support.servers import MariaDB, SqlServer, free_port

from messagebroker.db import connection, inspection
from messagebroker.db.address import Address
from messagebroker.ops import clock, doctor_database, doctor_machine, dump_tools
from messagebroker.ops.doctor_database import granted
from messagebroker.ops.findings import Finding

REPOSITORY = Path(__file__).parents[2]
CONFIGURATIONS = ["docker/mysql/mysql.cnf", "windows/my.ini"]
QUOTES = "'\""


def bad(url: str | None, folder: Path, **overrides: object) -> list[Finding]:
    found = list(doctor_database.check(quiet(folder, database_url=url, **overrides)))
    opened = connection.database.obj
    if isinstance(opened, connection.MySQL):
        opened.close_all()
    return [finding for finding in found if finding.level != "ok"]


@pytest.fixture(autouse=True)
def _modern(request: pytest.FixtureRequest) -> None:
    """The server of the tests makes latin1 databases unless told otherwise, as real ones do."""
    if "database" in request.fixturenames:
        database = request.getfixturevalue("database")
        if isinstance(database, pw.MySQLDatabase):
            database.execute_sql("ALTER DATABASE CHARACTER SET utf8mb4")


def test_a_good_database_has_nothing_to_say(database: pw.Database, tmp_path: Path) -> None:
    assert bad(url_of(database), tmp_path) == []


def test_a_schema_that_lacks_a_migration(database: pw.Database, tmp_path: Path) -> None:
    database.execute_sql("DELETE FROM migratehistory")
    assert [finding.fix for finding in bad(url_of(database), tmp_path)] == ["`messagebroker db upgrade`"]


def test_a_schema_that_is_newer(database: pw.Database, tmp_path: Path) -> None:
    database.execute_sql("INSERT INTO migratehistory (name, migrated_at) VALUES ('099_later', '2030-01-01')")
    assert ["099_later" in finding.text for finding in bad(url_of(database), tmp_path)] == [True]


def test_no_server(tmp_path: Path) -> None:
    found = bad(f"mysql://u:p@127.0.0.1:{free_port()}/message_system", tmp_path)
    assert [finding.level for finding in found] == ["error"]
    assert "DATABASE_URL" in found[0].fix


def test_a_wrong_password(sql_server: SqlServer, tmp_path: Path) -> None:
    found = bad(sql_server.url().replace(":test@", ":wrong@"), tmp_path)
    assert [finding.level for finding in found] == ["error"]
    assert "right user and password" in found[0].fix


def test_a_database_that_does_not_exist(sql_server: SqlServer, tmp_path: Path) -> None:
    found = bad(sql_server.url("message_system_nowhere"), tmp_path)
    assert "CREATE DATABASE `message_system_nowhere` CHARACTER SET utf8mb4" in found[0].fix


def test_rights_that_are_missing_are_named(sql_server: SqlServer, tmp_path: Path) -> None:
    url = sql_server.fresh_user("weak", "weak", "SELECT, INSERT, UPDATE, CREATE, INDEX, REFERENCES, ALTER, DROP")
    sql_server.execute("ALTER DATABASE message_system_weak CHARACTER SET utf8mb4")
    found = [finding for finding in bad(url, tmp_path) if "lacks DELETE" in finding.text]
    assert found[0].fix == "GRANT DELETE ON `message_system_weak`.* TO this user"
    sql_server.execute("GRANT DELETE ON message_system_weak.* TO weak@'127.0.0.1'")
    assert ["which backups need" in finding.text for finding in bad(url, tmp_path)] == [True, False]  # and the schema
    sql_server.execute("GRANT LOCK TABLES, TRIGGER, EVENT ON message_system_weak.* TO weak@'127.0.0.1'")
    assert [finding.text for finding in bad(url, tmp_path)] == ["the database is empty"]


def test_another_character_set(sql_server: SqlServer, tmp_path: Path) -> None:
    url = sql_server.fresh("latin")
    sql_server.execute("ALTER DATABASE message_system_latin CHARACTER SET latin1")
    found = [finding for finding in bad(url, tmp_path) if "character set" in finding.text]
    assert [finding.level for finding in found] == ["warning"]
    sql_server.execute("CREATE TABLE message_system_latin.odd (a VARCHAR(9)) CHARACTER SET latin1")
    found = [finding for finding in bad(url, tmp_path) if "utf8mb4" in finding.text]
    assert [(finding.level, finding.text) for finding in found] == [("error", "not utf8mb4: odd")]


def test_pools_that_ask_for_more_connections_than_there_are(sql_server: SqlServer, tmp_path: Path) -> None:
    url = sql_server.fresh("pools")
    found = [finding for finding in bad(url, tmp_path, database_pool_size=70) if "connections" in finding.text]
    assert "max_connections = 220" in found[0].fix
    assert not [finding for finding in bad(url, tmp_path, database_pool_size=60) if "connections" in finding.text]


def test_less_durability_than_promised(sql_server: SqlServer, tmp_path: Path) -> None:
    url = sql_server.fresh("durable")
    sql_server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    try:
        fixes = [finding.fix for finding in bad(url, tmp_path)]
    finally:
        sql_server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    assert any("`innodb_flush_log_at_trx_commit = 1`" in fix for fix in fixes)


def test_a_binary_log_that_is_not_synced(sql_server: SqlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = sql_server.fresh("binlog")
    asked = inspection.variable
    monkeypatch.setattr(inspection, "variable", lambda name: "ON" if name == "log_bin" else asked(name))
    found: dict[int, bool] = {}
    for sync in (0, 1):
        sql_server.execute(f"SET GLOBAL sync_binlog = {sync}")
        found[sync] = any("`sync_binlog = 1`" in finding.fix for finding in bad(url, tmp_path))
    assert found == {0: True, 1: False}


def test_a_far_server_without_encryption(mariadb_server: MariaDB, tmp_path: Path) -> None:
    """MariaDB 10.11 has no certificate of its own making; MySQL has."""
    opened: Any = connection.open_database(quiet(tmp_path, database_url=mariadb_server.url()))
    found = doctor_database._encryption(
        Address(host="db.example.org", port=3306, user="u", password="p", name="message_system")
    )
    assert (found.level, "not encrypted" in found.text) == ("warning", True)
    opened.close_all()


@pytest.mark.tier("mysql")
@pytest.mark.parametrize("file", CONFIGURATIONS)
def test_the_configuration_files_that_come_with_the_system_are_right(file: str, tmp_path: Path) -> None:
    with MySQL(*options_of(REPOSITORY / file)) as server:
        assert [finding.text for finding in bad(server.fresh_user("conf", "conf"), tmp_path)] == ["the database is empty"]
        assert server.execute("SHOW VARIABLES LIKE 'character_set_server'") == [("character_set_server", "utf8mb4")]


def options_of(path: Path) -> list[str]:
    """The lines of [mysqld] as arguments, without those about the machine that the file is for."""
    parser = configparser.ConfigParser(allow_no_value=True, interpolation=None)
    parser.read_string(path.read_text(encoding="utf-8"))
    names = {name.replace("-", "_"): value for name, value in parser["mysqld"].items()}
    kept = {
        name: value for name, value in names.items() if not re.search("dir$|port$|address$|socket$|log_error|pipe|shared", name)
    }
    return [f"--{name}" if value is None else f"--{name}={value.strip(QUOTES)}" for name, value in kept.items()]


def test_a_small_packet(sql_server: SqlServer, tmp_path: Path) -> None:
    url = sql_server.fresh("packet")
    sql_server.execute("SET GLOBAL max_allowed_packet = 1048576")
    try:
        fixes = [finding.fix for finding in bad(url, tmp_path)]
    finally:
        sql_server.execute("SET GLOBAL max_allowed_packet = 16777216")
    assert any("max_allowed_packet" in fix for fix in fixes)


def test_no_dump_program(sql_server: SqlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = sql_server.fresh("tools")
    monkeypatch.setenv("PATH", "")
    found = [finding.text for finding in bad(url, tmp_path) if "do not work" in finding.text]
    assert [text.split()[0] for text in found] == ["backups", "restores"]
    monkeypatch.undo()
    assert "dump" in dump_tools.version(dump_tools.dumper())


@pytest.mark.parametrize(("ahead", "level"), [(0, "ok"), (-3, "warning"), (7, "error")])
def test_the_clock_against_the_database(
    sql_server: SqlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float, level: str
) -> None:
    from datetime import timedelta

    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + timedelta(seconds=ahead))
    settings = quiet(tmp_path, database_url=sql_server.url(), redis_url=f"redis://127.0.0.1:{free_port()}/0")
    assert [finding.level for finding in doctor_machine.clocks(settings)] == [level]
    opened = connection.database.obj
    assert isinstance(opened, connection.MySQL)
    opened.close_all()


def test_an_old_server() -> None:
    assert [finding.level for finding in doctor_database._version("MySQL 5.7.44")] == ["error"]
    assert [finding.level for finding in doctor_database._version("MariaDB 10.5.1")] == ["error"]
    assert list(doctor_database._version("MySQL 8.0.36")) == list(doctor_database._version("MariaDB 11.4.2")) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_damaged_sqlite_file(database: pw.Database, tmp_path: Path) -> None:
    database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    path = tmp_path / "message_system.db"
    data = bytearray(path.read_bytes())
    data[4096:4200] = b"\xff" * 104  # the head of the second page
    path.write_bytes(data)
    assert "error" in [finding.level for finding in bad(None, tmp_path)]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_sqlite_in_production(tmp_path: Path, database: pw.Database) -> None:
    from messagebroker.db import schema

    settings = quiet(tmp_path).model_copy(update={"environment": "production"})
    connection.open_database(settings)
    schema.upgrade()
    levels = [(finding.level, finding.text) for finding in doctor_database.check(settings) if finding.level != "ok"]
    assert levels == [("error", "production runs on SQLite")]


@pytest.mark.parametrize(
    ("lines", "rights"),
    [
        (
            ["GRANT USAGE ON *.* TO `u`@`%`", "GRANT ALL PRIVILEGES ON `message_system`.* TO `u`@`%`"],
            {"USAGE", "ALL PRIVILEGES"},
        ),
        ([r"GRANT SELECT ON `message\_system`.* TO `u`@`%`"], {"SELECT"}),
        ([r"GRANT SELECT ON `message\_%`.* TO `u`@`%`", "GRANT DELETE ON `other`.* TO `u`@`%`"], {"SELECT"}),
        (["GRANT SELECT, LOCK TABLES ON *.* TO `u`@`%` WITH GRANT OPTION"], {"SELECT", "LOCK TABLES"}),
        (["GRANT SELECT ON `message_system`.`messages` TO `u`@`%`"], set()),
    ],
)
def test_grants_are_read_as_servers_write_them(lines: list[str], rights: set[str]) -> None:
    assert granted(lines, "message_system") == (rights, False)


def test_rights_through_a_role_are_not_known() -> None:
    assert granted(["GRANT USAGE ON *.* TO `u`@`%`", "GRANT `app`@`%` TO `u`@`%`"], "message_system") == ({"USAGE"}, True)
