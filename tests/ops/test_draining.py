"""Waiting until queues are empty."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import peewee as pw
import pytest
import redis as redis_py
from support.cast import TEST
from support.queued import enqueue, put
from support.records import records
from support.subscribing import Office, subscribe

from messagebroker.db.models import Delivery
from messagebroker.errors import NotFound, Refused
from messagebroker.ops import draining, pausing
from messagebroker.ops.draining import NotDrained
from messagebroker.ops.due import database_now
from messagebroker.settings import Settings

HOUR = timedelta(hours=1)


@pytest.fixture
def office(database: pw.Database, settings: Settings) -> Office:
    return Office(settings)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis_py.Redis]:
    with redis_py.Redis.from_url(redis_url) as made:
        yield made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(draining.Counter, "look", lambda self: draining.queue_stats.delivery_counts.count())


@pytest.mark.usefixtures("quick")
def test_draining_waits_until_nothing_waits_or_runs(office: Office, client: redis_py.Redis) -> None:
    subscribe()
    put(office, 3)
    put(office, 2, priority=3)
    told: list[tuple[int, int]] = []

    def report(waiting: int, running: int) -> None:
        told.append((waiting, running))
        now = {1: "processing", 2: "delivered"}.get(len(told))
        if now:
            Delivery.update(status=now, due_at=database_now() + HOUR).where(Delivery.priority == 2).execute()

    draining.drain(client, ["normal"], seconds=20, report=report)
    assert told == [(3, 0), (0, 3), (0, 0)]


@pytest.mark.usefixtures("quick")
def test_draining_gives_up_in_time_and_says_what_is_left(office: Office, client: redis_py.Redis) -> None:
    subscribe()
    put(office, 3)
    enqueue(client, records(2, priority=3))
    with pytest.raises(NotDrained, match=r"5 still wait and 0 run \(normal: 3, low: 2\)"):
        draining.drain(client, ["normal", "low"], seconds=0.05)
    with pytest.raises(NotDrained, match="2 still wait"):
        draining.drain(client, ["normal", "low"], seconds=0.05, only_stored=True)
    draining.drain(client, ["normal"], seconds=0.05, only_stored=True)
    pausing.pause("low", "the warehouse moves", TEST)
    with pytest.raises(Refused, match=r"2 wait in low, which cli:test paused: the warehouse moves; .*resume low"):
        draining.drain(client, ["low"], seconds=60)
    with pytest.raises(NotFound):
        draining.drain(client, ["lowest"], seconds=1)
