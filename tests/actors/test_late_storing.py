"""What is stored when the worker's other parts have ended already."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import peewee as pw
import pytest
from support.servers import free_port
from support.subscribing import Office, subscribe

from messagebroker.actors import storing, worker
from messagebroker.actors.storing import store_calls
from messagebroker.db.models import Delivery, Message
from messagebroker.ops.records import encode_call
from messagebroker.settings import Settings


@pytest.fixture(autouse=True)
def _use_none() -> Iterator[None]:
    yield
    storing.use(None)


def test_a_thread_that_outlasts_the_stop_still_gives_its_messages_to_who_subscribed(
    sqlite: pw.Database, redis_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have hung in the database for longer than a stop may take. Without a router, messages would be `delivered`, to
    nobody."""
    office = Office(redis_settings)
    number = subscribe()
    monkeypatch.setattr(worker, "open_database", lambda settings: None)
    stop = threading.Event()
    stop.set()
    worker.work(redis_settings.model_copy(update={"metrics_port": free_port()}), stop)
    one = office.record()
    store_calls([encode_call([one], list(office.keys.values()))], queue="normal", crashes=0, stopping=threading.Event())
    assert [(row.subscription_id, row.status) for row in Delivery.select()] == [(number, "pending")]
    assert Message.get_by_id(one.id).status == "pending"
