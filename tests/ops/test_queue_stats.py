"""What is counted of queues: in messages, from an index, and not anew for everybody who asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import peewee as pw
import pytest
import redis as redis_py
from support.cast import TEST
from support.plans import explain, rows_by_name, statements
from support.queued import enqueue, put
from support.records import KEYS, record, records
from support.subscribing import Office, subscribe

from messagebroker.actors.broker import SCRIPTS
from messagebroker.db.connection import connected
from messagebroker.db.models import Delivery, Subscription
from messagebroker.ops import delivery_counts, failures, heartbeats, pausing, queue_stats
from messagebroker.ops.delivery_counts import Counted, Counter, DeliveryCount
from messagebroker.ops.due import database_now
from messagebroker.ops.queue_stats import QueueState
from messagebroker.ops.queues import HEARTBEATS
from messagebroker.ops.records import Record
from messagebroker.settings import Settings


@pytest.fixture
def office(database: pw.Database, settings: Settings) -> Office:
    return Office(settings)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis_py.Redis]:
    with redis_py.Redis.from_url(redis_url) as made:
        yield made


def set_state(made: list[Record], seconds: float | None, **fields: Any) -> None:
    """`seconds`: until due; negative: since then."""
    due_at = None if seconds is None else database_now() + timedelta(seconds=seconds)
    Delivery.update(due_at=due_at, **fields).where(Delivery.message << [one.id for one in made]).execute()


def looked(client: redis_py.Redis) -> dict[str, QueueState]:
    return {state.queue: state for state in queue_stats.look(client).queues}


def test_each_state_is_counted(office: Office, client: redis_py.Redis) -> None:
    subscribe()
    set_state(put(office, 3), -20)
    set_state(put(office, 4), 3600)
    set_state(put(office, 2), 60, status="processing")
    set_state(put(office, 1), -5, status="processing")
    set_state(put(office, 5), None, status="failed")
    set_state(put(office, 6), None, status="delivered")
    set_state(put(office, 7, priority=3), -1)
    found = looked(client)
    normal = found["normal"]
    counts = (normal.waiting, normal.delayed, normal.running, normal.stuck, normal.failed)
    assert counts == (3, 4, 3, 1, 5)
    assert 20 <= normal.oldest_seconds < 40
    assert (found["low"].waiting, found["critical"].waiting) == (7, 0)


def test_channels_are_counted_over_all_queues(office: Office, client: redis_py.Redis) -> None:
    subscribe(["orders.*"])
    subscribe(["orders.*"])
    subscribe(["mails.*"], channel="email", config={"to": ["ann@example.org"]})
    set_state(put(office, 3), -20)
    set_state(put(office, 2, priority=0), None, status="failed")
    set_state(put(office, 4, topic="mails.sent", priority=3), -70)
    set_state(put(office, 1, topic="mails.sent"), 60)
    found = {state.channel: state for state in queue_stats.look(client).channels}
    assert {name: (one.waiting, one.delayed, one.failed) for name, one in found.items()} == {
        "webhook": (6, 0, 4), "email": (4, 1, 0), "inbox": (0, 0, 0), "pull": (0, 0, 0),
    }  # fmt: skip
    assert 20 <= found["webhook"].oldest_seconds < 40
    assert 70 <= found["email"].oldest_seconds < 90


def test_a_channel_of_a_newer_version_is_counted_too(office: Office, client: redis_py.Redis) -> None:
    number = subscribe()
    put(office, 2)
    Subscription.update(channel="pigeon").where(Subscription.id == number).execute()
    assert [state.waiting for state in queue_stats.look(client).channels if state.channel == "pigeon"] == [2]


def test_what_is_in_redis_counts_with_it(office: Office, client: redis_py.Redis) -> None:
    enqueue(client, records(30))
    client.eval(SCRIPTS["fetch"], 0, "messagebroker", "normal", "worker-1", 500, 10_000_000)
    enqueue(client, records(12))
    subscribe()
    put(office, 5)
    normal = looked(client)["normal"]
    assert (normal.waiting, normal.running, normal.stuck) == (17, 30, 0)
    assert (normal.messages, normal.calls) == (42, 2)
    client.zadd(HEARTBEATS, {"worker-1": 1})
    assert looked(client)["normal"].stuck == 30, "their worker has been silent since 1970"


def test_pauses_workers_and_what_could_not_be_stored(office: Office, client: redis_py.Redis) -> None:
    for role in ("worker", "worker", "main"):
        heartbeats.Heart(role).beat()
    one = record()
    failures.set_aside(one, KEYS[one.data_key_id], "DataError: too long")
    put(office, 2, deliver_at=(one.accepted_at + 3_600_000_000))
    pausing.pause("low", "why", TEST)
    found = queue_stats.look(client)
    states = {state.queue: state for state in found.queues}
    assert (states["low"].workers, states["ops"].workers) == (2, 1)
    assert states["low"].paused is not None
    assert states["high"].paused is None
    assert (found.ingest_failures, found.scheduled) == (1, 2)
    assert found.redis.commands > 0
    assert found.redis.used_bytes > 0


def test_what_redis_does_is_told(office: Office, client: redis_py.Redis) -> None:
    until = time.monotonic() + 10
    while (rate := queue_stats.look(client).redis.operations_per_second) == 0 and time.monotonic() < until:
        client.ping()  # Redis looks ten times a second at how much it did
    assert 0 < rate < 10_000_000


def test_counting_reads_an_index_alone(office: Office) -> None:
    subscribe()
    set_state(put(office, 50), 60)
    with statements() as sent:
        delivery_counts.count()
    asked = [(sql, parameters) for sql, parameters in sent if "subscriptions" in sql]
    assert len(asked) == 2, "whatever number of subscriptions there is"
    if type(Delivery._meta.database.obj).__name__ == "SQLite":
        return
    with connected():
        [plan] = rows_by_name(f"{explain()} {delivery_counts.statement()}")
    assert plan["key"] == delivery_counts.INDEX
    assert "Using index" in plan["Extra"]
    assert "filesort" not in plan["Extra"] and "temporary" not in plan["Extra"]  # noqa: PT018
    with connected():
        plans = [rows_by_name(f"{explain()} {sql}", parameters)[0] for sql, parameters in asked]
    assert all("Using index" in plan["Extra"] for plan in plans), plans


def test_a_count_is_remembered_and_one_that_takes_long_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now, cost, counts = [100.0], [0.01], [0]

    def count() -> Counted:
        counts[0] += 1
        now[0] += cost[0]
        return Counted(deliveries={"low": DeliveryCount(waiting=counts[0])})

    monkeypatch.setattr(delivery_counts, "count", count)
    monkeypatch.setattr(delivery_counts.time, "monotonic", lambda: now[0])
    counter = Counter()
    for _ in range(50):
        counter.look()
    assert counts[0] == 1
    now[0] += 2.1
    cost[0] = 1.0
    counter.look()
    now[0] += 19
    assert counter.look().deliveries["low"].waiting == 2
    now[0] += 1.1
    assert counter.look().deliveries["low"].waiting == 3


def test_while_one_counts_others_get_the_last_count(monkeypatch: pytest.MonkeyPatch) -> None:
    counter, begun, go = Counter(), threading.Event(), threading.Event()
    first = Counted(scheduled=1)
    monkeypatch.setattr(delivery_counts, "count", lambda: first)
    counter.look()
    counter._good_until = 0

    def slow() -> Counted:
        begun.set()
        go.wait(10)
        return Counted(scheduled=2)

    monkeypatch.setattr(delivery_counts, "count", slow)
    counting = threading.Thread(target=counter.look)
    counting.start()
    begun.wait(10)
    assert counter.look() is first
    go.set()
    counting.join(10)
    assert counter.look().scheduled == 2


def test_a_scrape_is_answered_from_memory(office: Office, client: redis_py.Redis) -> None:
    """As many scrapes as anybody likes: one count."""
    subscribe()
    put(office, 3)
    counter = Counter()
    queue_stats.look(client, counter.look)
    Delivery.update(status="delivered", due_at=None).execute()
    states = queue_stats.look(client, counter.look).queues
    assert sum(state.waiting for state in states) == 3
