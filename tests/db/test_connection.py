from __future__ import annotations

from pathlib import Path

import peewee as pw
import pytest

from messagebroker.db.connection import connected, error_number, is_outage, open_database
from messagebroker.db.connection import database as bound
from messagebroker.db.models import Client
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


def test_a_url_without_a_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="names no database"):
        open_database(load({}, data_dir=tmp_path, database_url="mysql://u:p@127.0.0.1"))
