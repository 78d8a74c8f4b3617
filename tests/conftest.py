"""Fixtures that every tier shares. Servers start on first use, once a session."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import peewee as pw
import pytest
import redis as redis_py

sys.path.insert(0, str(Path(__file__).parent))  # `from support import …` under --import-mode=importlib

from support.mysql import MySQL
from support.servers import MariaDB, Redis, RedisElsewhere, SqlServer
from support.tiers import pytest_addoption, pytest_collection_modifyitems  # noqa: F401 - pytest finds its hooks here

from messagebroker.db import schema
from messagebroker.db.connection import open_database
from messagebroker.settings import Settings, load


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


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """SQLite in a folder of the test's own; no Redis."""
    return load({}, data_dir=tmp_path, environment="test")


@pytest.fixture(params=["sqlite", "mariadb", "mysql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[pw.Database]:
    """An upgraded, empty database: on SQLite in the quick tier, on MariaDB and MySQL in theirs."""
    overrides = {}
    if request.param != "sqlite":
        server: SqlServer = request.getfixturevalue(f"{request.param}_server")
        overrides["database_url"] = server.fresh(uuid.uuid4().hex[:12])
    opened = open_database(load({}, data_dir=tmp_path, environment="test", **overrides))
    schema.upgrade()
    yield opened
    if not opened.is_closed():
        opened.close()
    if request.param != "sqlite":
        opened.close_all()
