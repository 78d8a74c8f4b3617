"""Which errors of a real server mean "later", in the numbers that this server really uses."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import peewee as pw
import pymysql
import pytest
from support.servers import SqlServer

from messagebroker.db import schema
from messagebroker.db.connection import connected, error_number, is_outage, open_database
from messagebroker.db.models import Client
from messagebroker.db.writing import writing
from messagebroker.errors import Unavailable
from messagebroker.ops import clock
from messagebroker.settings import load


@pytest.fixture
def opened(sql_server: SqlServer, tmp_path: Path) -> Iterator[Any]:
    made: Any = open_database(load({}, data_dir=tmp_path, environment="test", database_url=sql_server.fresh("outages")))
    schema.upgrade()
    yield made
    made.close_all()


def write(name: str = "a") -> None:
    with connected():
        Client.insert(name=name, created_at=clock.now()).execute()


def own_number(opened: Any) -> int:
    return int(opened.execute_sql("SELECT CONNECTION_ID()").fetchone()[0])


def test_a_server_that_is_read_only(sql_server: SqlServer, opened: Any) -> None:
    sql_server.execute("SET GLOBAL read_only = ON")
    try:
        with pytest.raises(Unavailable, match="read-only"):
            write()
    finally:
        sql_server.execute("SET GLOBAL read_only = OFF")
    write()


@pytest.mark.parametrize("sql_server", ["mysql"], indirect=True)  # MariaDB has no such mode
def test_a_server_that_is_taken_offline(sql_server: SqlServer, opened: Any) -> None:
    write("before")
    sql_server.execute("SET GLOBAL offline_mode = ON")
    try:
        for _ in range(2):  # over a pooled connection that is cut, then over a new one
            with pytest.raises(Unavailable, match="offline mode"):
                write()
    finally:
        sql_server.execute("SET GLOBAL offline_mode = OFF")
    write()


def test_a_connection_that_an_operator_kills(sql_server: SqlServer, opened: Any) -> None:
    def count_after_the_kill() -> None:
        sql_server.execute(f"KILL {own_number(opened)}")
        time.sleep(0.2)
        Client.select().count()

    with pytest.raises(Unavailable), connected():
        count_after_the_kill()
    write()


def test_a_statement_that_an_operator_kills(sql_server: SqlServer, opened: Any) -> None:
    def count_for_long() -> None:
        killer = threading.Timer(0.3, sql_server.execute, [f"KILL QUERY {own_number(opened)}"])
        killer.start()
        try:
            opened.execute_sql("SELECT COUNT(*) FROM information_schema.columns WHERE SLEEP(1)")
        finally:
            killer.join()

    with pytest.raises(Unavailable), connected():
        count_for_long()


def test_a_connection_that_the_server_closed_for_idling(sql_server: SqlServer, opened: Any) -> None:
    def count_after_idling() -> None:
        opened.execute_sql("SET SESSION wait_timeout = 1")
        time.sleep(1.5)
        Client.select().count()

    with pytest.raises(Unavailable), connected():
        count_after_idling()
    write()


def test_a_lock_that_is_waited_for_too_long_and_a_deadlock(sql_server: SqlServer, opened: Any) -> None:
    with connected():
        for name in ("one", "two"):
            Client.insert(name=name, created_at=clock.now()).execute()
    holds, errors = threading.Event(), []

    def other() -> None:
        with connected(), opened.atomic() as transaction:
            Client.update(rate=1).where(Client.name == "two").execute()
            holds.set()
            try:
                Client.update(rate=1).where(Client.name == "one").execute()
            except pw.OperationalError as error:
                errors.append(error)
            transaction.rollback()

    with connected(), opened.atomic() as transaction:
        opened.execute_sql("SET SESSION innodb_lock_wait_timeout = 1")
        Client.update(rate=2).where(Client.name == "one").execute()
        thread = threading.Thread(target=other)
        thread.start()
        holds.wait(10)
        time.sleep(0.3)
        try:
            Client.update(rate=2).where(Client.name == "two").execute()
        except pw.OperationalError as error:
            errors.append(error)
        transaction.rollback()
    thread.join(60)
    assert [is_outage(error) for error in errors] == [True], [error_number(error) for error in errors]


def test_a_connection_that_is_given_up_inside_of_a_block_that_has_it(sql_server: SqlServer, opened: Any) -> None:
    def lose() -> None:
        with connected(), writing():
            sql_server.execute(f"KILL {own_number(opened)}")
            Client.select().count()

    with pytest.raises(Unavailable):
        lose()
    write()


def test_a_deadlock_inside_of_a_transaction_inside_of_another(opened: Any) -> None:
    """The server ends all of it, savepoints too: who goes back to one is told that there is none, which is no outage."""
    with connected():
        for name in ("one", "two"):
            Client.insert(name=name, created_at=clock.now()).execute()
    both_hold, errors = threading.Barrier(2, timeout=10), []

    def run(first: str, second: str) -> None:
        try:
            with connected(), writing():
                Client.update(rate=1).where(Client.name == first).execute()
                both_hold.wait()
                with writing():
                    Client.update(rate=1).where(Client.name == second).execute()
        except (Unavailable, pw.PeeweeException) as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=names) for names in (("one", "two"), ("two", "one"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [type(error) for error in errors] == [Unavailable]
    with connected():
        assert {row.rate for row in Client.select()} == {1}, "the other one has done its work"


def test_a_server_without_a_free_connection(sql_server: SqlServer, opened: Any) -> None:
    before = sql_server.execute("SELECT @@max_connections")[0][0]
    opened.close_all()
    sql_server.execute("SET GLOBAL max_connections = 10")
    held: list[Any] = []
    try:
        with suppress(pymysql.err.OperationalError):
            while True:  # others may have connections that end later
                held.append(open_connection(sql_server))
        with pytest.raises(Unavailable, match="Too many connections"):
            write()
    finally:
        for connection in held:
            connection.close()
        sql_server.execute(f"SET GLOBAL max_connections = {before}")
    write()


def open_connection(server: SqlServer) -> Any:
    return pymysql.connect(host="127.0.0.1", port=server.port, user="systemuser", password="test")
