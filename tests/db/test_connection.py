from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import peewee as pw
import pytest
from support.servers import SqlServer

from messagebroker.db.connection import connected, error_number, is_outage, open_database
from messagebroker.db.connection import database as bound
from messagebroker.db.models import Client
from messagebroker.db.writing import give_up_connection, kept_connection, writing
from messagebroker.errors import ConfigurationError, Unavailable
from messagebroker.ops import clock
from messagebroker.settings import load


def test_an_inner_block_leaves_the_outer_connection_open(database: pw.Database) -> None:
    with connected():
        with connected():
            pass
        assert not bound.is_closed()
        assert Client.select().count() == 0
    assert bound.is_closed()


def test_times_come_back_aware_and_exact(database: pw.Database) -> None:
    moment = clock.now()
    with connected():
        Client.create(name="a", created_at=moment)
        assert Client.get().created_at == moment


def test_a_duplicate_is_no_outage(database: pw.Database) -> None:
    with connected():
        Client.create(name="a", created_at=clock.now())
        with pytest.raises(pw.IntegrityError) as caught:
            Client.create(name="a", created_at=clock.now())
    assert not is_outage(caught.value)
    assert error_number(caught.value) in {1062, None}


def test_names_differ_by_case(database: pw.Database) -> None:
    with connected():
        Client.create(name="a", created_at=clock.now())
        assert Client.get_or_none(name="A") is None


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    open_database(load({}, data_dir=tmp_path, database_url="mysql://u:p@127.0.0.1:1/x", database_connect_timeout=1))
    with pytest.raises(Unavailable, match="does not answer"):
        with connected():
            pass


def test_answers_out_of_step_are_an_outage_and_cost_the_connection(sql_server: SqlServer, tmp_path: Path) -> None:
    """PyMySQL gives that error no number; what else comes on this connection belongs to who knows what."""
    opened: Any = open_database(load({}, data_dir=tmp_path, database_url=sql_server.fresh("steps")))
    for earlier, block in ((connected, connected), (kept_connection, kept_connection), (kept_connection, writing)):
        with earlier():
            broken = opened.connection()
            broken._read_query_result = partial(_out_of_step, broken)
        with pytest.raises(Unavailable, match=r"sequence|does not answer"), block():
            bound.execute_sql("SELECT 1")
        with block():
            assert opened.connection() is not broken
            assert bound.execute_sql("SELECT 1").fetchone() == (1,)
        give_up_connection()
    opened.close_all()


def _out_of_step(connection: Any, unbuffered: bool = False) -> int:
    connection._next_seq_id = 99
    answered: int = type(connection)._read_query_result(connection, unbuffered)
    return answered


def test_a_process_holds_no_more_connections_than_its_pool(sql_server: SqlServer, tmp_path: Path) -> None:
    url = sql_server.fresh("pool")
    opened: Any = open_database(load({}, data_dir=tmp_path, database_url=url, database_pool_size=2))
    opened._wait_timeout = 0.2
    both_hold, may_go = threading.Barrier(3), threading.Event()

    def hold() -> None:
        with connected():
            both_hold.wait(10)
            may_go.wait(10)

    holders = [threading.Thread(target=hold) for _ in range(2)]
    for holder in holders:
        holder.start()
    both_hold.wait(10)
    try:
        with pytest.raises(Unavailable, match="does not answer"), connected():
            pass
    finally:
        may_go.set()
        for holder in holders:
            holder.join()
    with connected():
        assert bound.execute_sql("SELECT 1").fetchone() == (1,)
    opened.close_all()


@pytest.mark.parametrize("password", ["grün", "пароль", "日本語 🙂", "plain"])
def test_passwords_in_any_script_are_sent_as_the_server_hashed_them(
    sql_server: SqlServer, tmp_path: Path, password: str
) -> None:
    right = sql_server.fresh_user("scripts", password)
    for given in (password, password + "x"):
        url = right.replace(quote(password, safe=""), quote(given, safe=""))
        opened = open_database(load({}, data_dir=tmp_path, environment="test", database_url=url))
        if given == password:
            with connected():
                assert opened.execute_sql("SELECT CURRENT_USER()").fetchone() == ("scripts@127.0.0.1",)
        else:
            with pytest.raises(pw.OperationalError, match="Access denied"), connected():
                pass
        opened.close_all()


def test_a_url_without_a_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="names no database"):
        open_database(load({}, data_dir=tmp_path, database_url="mysql://u:p@127.0.0.1"))
