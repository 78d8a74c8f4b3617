"""Fixtures that every tier shares. Servers start on first use, once a session."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import peewee as pw
import pytest
import redis as redis_py
from argon2 import PasswordHasher

sys.path.insert(0, str(Path(__file__).parent))  # `from support import …` under --import-mode=importlib

from support.emptied import Databases
from support.fake_webhook import fake_webhook  # noqa: F401 - pytest finds it here
from support.mysql import MySQL
from support.servers import MariaDB, Redis, RedisElsewhere, SqlServer
from support.tiers import (  # noqa: F401 - pytest finds its hooks here
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_runtest_makereport,
    pytest_terminal_summary,
)

from messagebroker.db import schema
from messagebroker.db.connection import SQLite, open_database
from messagebroker.ops import passwords, steering
from messagebroker.settings import Settings, load


@pytest.fixture(scope="session", autouse=True)
def quick_hashing() -> Iterator[PasswordHasher]:
    """Hashing takes long on purpose, and only tests with `real_hashing` are about that. Gives the real one."""
    real, passwords._hasher = passwords._hasher, PasswordHasher(time_cost=2, memory_cost=64, parallelism=1)
    yield real
    passwords._hasher = real


@pytest.fixture
def real_hashing(quick_hashing: PasswordHasher, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(passwords, "_hasher", quick_hashing)
    passwords._decoy.cache_clear()  # of what hashes as quickly as the others
    yield
    passwords._decoy.cache_clear()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    port = os.environ.get("MESSAGEBROKER_TEST_REDIS")  # the Windows tier's, on the Linux side
    with RedisElsewhere(int(port)) if port else Redis() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDB]:
    with MariaDB() as server:
        yield server


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[MySQL]:
    with MySQL("--innodb-flush-method=nosync") as server:  # a third faster; tests that kill a server have one of their own
        yield server


@pytest.fixture(scope="session", params=["mariadb", "mysql"])
def sql_server(request: pytest.FixtureRequest) -> SqlServer:
    """For what both servers must do: MariaDB in the tier `databases`, MySQL in the tier `mysql`."""
    server: SqlServer = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture
def redis_url(redis_server: Redis) -> Iterator[str]:
    """The session's Redis, emptied."""
    with redis_py.Redis(port=redis_server.port) as client:
        client.flushall()
        yield redis_server.url


@pytest.fixture(autouse=True)
def _nothing_rests() -> Iterator[None]:
    """What a process followed ends with it, and all tests share one."""
    yield
    steering.forget()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """SQLite in a folder of the test's own; no Redis."""
    return load({}, data_dir=tmp_path, environment="test")


@pytest.fixture(scope="session")
def upgraded_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upgraded, empty SQLite database, to be copied: that takes a tenth of an upgrade's time."""
    folder = tmp_path_factory.mktemp("upgraded")
    opened = open_database(load({}, data_dir=folder, environment="test"))
    schema.upgrade()
    opened.close()
    assert isinstance(opened, SQLite)
    return opened.path


@pytest.fixture(scope="session")
def mariadb_databases(mariadb_server: MariaDB) -> Databases:
    return Databases(mariadb_server)


@pytest.fixture(scope="session")
def mysql_databases(mysql_server: MySQL) -> Databases:
    return Databases(mysql_server)


@pytest.fixture(params=["sqlite", "mariadb", "mysql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[pw.Database]:
    """An upgraded, empty database: on SQLite in the quick tier, on MariaDB and MySQL in theirs."""
    if request.param == "sqlite":
        yield from _of_sqlite(request.getfixturevalue("upgraded_file"), tmp_path)
    else:
        yield from _of_a_server(request.getfixturevalue(f"{request.param}_databases"), tmp_path)


def _of_sqlite(upgraded: Path, folder: Path) -> Iterator[pw.Database]:
    opened = open_database(load({}, data_dir=folder, environment="test"))
    assert isinstance(opened, SQLite)
    shutil.copy(upgraded, opened.path)
    yield opened
    if not opened.is_closed():
        opened.close()


def _of_a_server(databases: Databases, folder: Path) -> Iterator[pw.Database]:
    name, is_upgraded = databases.take()
    if not is_upgraded:
        databases.make(name)
    opened = open_database(load({}, data_dir=folder, environment="test", database_url=databases.url(name)))
    if not is_upgraded:
        schema.upgrade()
    yield opened
    if not opened.is_closed():
        opened.close()
    opened.close_all()
    databases.give_back(name)
