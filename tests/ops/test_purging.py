"""Emptying a queue."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import peewee as pw
import pytest
import redis as redis_py
from support.cast import TEST
from support.queued import audited, enqueue, put, status, statuses
from support.records import records
from support.subscribing import Office, subscribe

from messagebroker.db.models import Delivery
from messagebroker.errors import Refused
from messagebroker.ops import ids, purging
from messagebroker.ops.due import database_now
from messagebroker.ops.store import store
from messagebroker.settings import Settings

HOUR = timedelta(hours=1)
ME = b"m" * 16


@pytest.fixture
def office(database: pw.Database, settings: Settings) -> Office:
    return Office(settings)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis_py.Redis]:
    with redis_py.Redis.from_url(redis_url) as made:
        yield made


def test_a_purge_cancels_what_waits_and_messages_follow(office: Office, client: redis_py.Redis) -> None:
    subscribe()
    due = put(office, 3)
    later = put(office, 2)
    Delivery.update(due_at=database_now() + HOUR).where(Delivery.message << [one.id for one in later]).execute()
    under_way, others = put(office, 1), put(office, 4, priority=3)
    Delivery.update(status="processing", holder=ME).where(Delivery.message == under_way[0].id).execute()
    enqueue(client, records(9))
    found = purging.preview(client, "normal")
    assert (found.left, found.cancelled, found.unstored) == (5, 0, 9)
    assert statuses() == {"pending": 9, "processing": 1}, "only looked"
    done = purging.purge(client, "normal", reason=" test data ", actor=TEST)
    assert (done.cancelled, done.left, done.unstored) == (5, 0, 9)
    assert statuses() == {"cancelled": 5, "pending": 4, "processing": 1}
    assert {status(one) for one in due + later} == {"cancelled"}
    assert status(others[0]) == "pending"
    assert client.hget("messagebroker:depth", "normal") == b"9", "what is accepted is never dropped"
    [row] = audited("queue.purge")
    assert (row.actor, row.object_id) == ("cli:test", "normal")
    assert '"reason": "test data"' in row.details
    assert '"deliveries": 5' in row.details


def test_a_message_that_was_delivered_to_others_stays_delivered(office: Office, client: redis_py.Redis) -> None:
    first, _ = subscribe(), subscribe()
    (one,) = put(office)
    Delivery.update(status="delivered", due_at=None).where(Delivery.subscription_id == first).execute()
    purging.purge(client, "normal", reason="x", actor=TEST)
    assert statuses() == {"delivered": 1, "cancelled": 1}
    assert status(one) == "delivered"


def test_what_comes_after_the_purge_began_is_left_alone(office: Office, client: redis_py.Redis) -> None:
    subscribe()
    put(office, 2)
    before = purging.preview(client, "normal").before
    threading.Event().wait(0.005)
    (new,) = put(office)
    assert purging.purge(client, "normal", reason="x", before=before, actor=TEST).cancelled == 2
    assert status(new) == "pending"


def test_what_was_stored_in_this_very_millisecond_is_purged(office: Office, client: redis_py.Redis) -> None:
    """Ids count whole milliseconds."""
    subscribe()
    (one,) = put(office)
    Delivery.update(created_at=ids.drawn_at(one.id)).execute()
    assert purging.preview(client, "normal", ids.drawn_at(one.id)).left == 1


def test_what_is_stored_after_somebody_looked_is_left_alone(office: Office, client: redis_py.Redis) -> None:
    """It was accepted before, and the preview said that it stays."""
    subscribe()
    put(office, 2)
    accepted = office.record()
    threading.Event().wait(0.005)
    before = purging.preview(client, "normal").before
    threading.Event().wait(0.005)
    store([accepted], office.keys, now=database_now(), router=office.router)
    assert purging.preview(client, "normal", before).left == 2
    assert purging.purge(client, "normal", reason="x", before=before, actor=TEST).cancelled == 2
    assert status(accepted) == "pending"


def test_a_long_purge_goes_on_with_the_next_call(
    office: Office, client: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "PIECE", 4)
    subscribe()
    put(office, 10)
    first = purging.purge(client, "normal", reason="x", actor=TEST, seconds=-1)
    assert (first.cancelled, first.left) == (4, 6)
    second = purging.purge(client, "normal", reason="x", before=first.before, actor=TEST)
    assert (second.cancelled, second.left) == (6, 0)


def test_a_purge_needs_a_reason_and_a_queue_of_messages(office: Office, client: redis_py.Redis) -> None:
    with pytest.raises(Refused, match="say why"):
        purging.purge(client, "low", reason=" ", actor=TEST)
    with pytest.raises(Refused, match="main's own jobs"):
        purging.purge(client, "ops", reason="x", actor=TEST)
    assert audited("queue.purge") == []
