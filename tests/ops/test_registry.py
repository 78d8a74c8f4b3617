from __future__ import annotations

import peewee as pw
import pytest

from messagebroker.db import schema
from messagebroker.db.connection import connected, open_database
from messagebroker.errors import Unavailable
from messagebroker.ops import registry
from messagebroker.settings import Settings


def test_an_outage_on_the_callers_own_connection_is_told_with_its_place(settings: Settings) -> None:
    open_database(settings)
    schema.upgrade()
    with connected(), pytest.raises(Unavailable) as caught, registry.session(settings):
        raise pw.OperationalError("database is locked")
    path = settings.data_dir / "message_system.db"
    assert str(caught.value).startswith(f"the database {path} (DATABASE_URL) does not answer: database is locked; ")


def test_without_a_database_it_is_unavailable_and_none_is_made(settings: Settings) -> None:
    open_database(settings)
    with pytest.raises(Unavailable, match="messagebroker db upgrade"), registry.session(settings):
        pass
    assert list(settings.data_dir.iterdir()) == []
