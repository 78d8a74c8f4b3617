"""Queues that rest, and workers that grow and shrink, in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import peewee as pw
import pytest
import redis as redis_py
from structlog.testing import capture_logs
from support.calls import consumer_of, take
from support.cast import TEST
from support.records import record, records

from messagebroker.actors import storing
from messagebroker.actors.broker import Broker
from messagebroker.actors.follower import Follower
from messagebroker.actors.queue_worker import QueueWorker
from messagebroker.db.models import Message
from messagebroker.errors import Unavailable
from messagebroker.ops import pausing, queue_rates, steering
from messagebroker.ops.records import Record
from messagebroker.ops.store import Stored

Enqueue = Callable[[list[Record]], None]
Eventually = Callable[..., None]


@pytest.fixture
def rest(sqlite: pw.Database) -> Callable[..., None]:
    """Pauses queues and has this process look; the others go on."""

    def look(*queues: str) -> None:
        for queue in steering.paused() - set(queues):
            pausing.resume(queue, TEST)
        for queue in queues:
            pausing.pause(queue, "", TEST)
        steering.refresh()

    return look


def test_a_queue_that_rests_gives_nothing_and_gives_back_what_was_at_hand(
    broker: Broker, client: redis_py.Redis, enqueue: Enqueue, rest: Callable[..., None], depth: Callable[..., int]
) -> None:
    for _ in range(2):
        enqueue(records(300))  # two work items
    consumer = consumer_of(broker)
    held = take(consumer)
    rest("normal")
    assert next(consumer) is None
    assert client.llen("messagebroker:normal") == 1, "the one that was at hand"
    assert next(consumer) is None
    consumer.ack(held)
    assert depth() == 300
    client.delete("messagebroker:__heartbeats__")
    consumer._maintained = 0
    assert next(consumer) is None
    assert client.zcard("messagebroker:__heartbeats__") == 1, "who rests lives"
    rest()
    assert take(consumer) is not None


def test_an_emptied_redis_resumes_nothing(
    broker: Broker, client: redis_py.Redis, enqueue: Enqueue, rest: Callable[..., None]
) -> None:
    rest("normal")
    client.flushall()
    enqueue([record()])
    steering.refresh()
    assert next(consumer_of(broker)) is None


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Storing waits for it."""
    opened = threading.Event()
    real = storing.store

    def slow(*given: object, **named: object) -> Stored:
        assert opened.wait(20)
        return real(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(storing, "store", slow)
    return opened


def test_work_that_waits_for_a_thread_is_not_begun_after_the_pause(
    start_worker: Callable[..., QueueWorker], enqueue: Enqueue, rest: Callable[..., None], gate: threading.Event,
    eventually: Eventually, depth: Callable[..., int],
) -> None:  # fmt: skip
    worker = start_worker(threads=1)
    for _ in range(3):
        enqueue(records(400))
    eventually(lambda: worker.in_hand == 2)
    with capture_logs() as logs:
        rest("normal")
        gate.set()
        eventually(lambda: worker.in_hand == 0)
    assert (Message.select().count(), depth()) == (400, 800), "the one that was under way came to its end"
    assert not [line for line in logs if line["log_level"] == "error"]
    rest()
    eventually(lambda: depth() == 0)
    assert Message.select().count() == 1200
    eventually(lambda: worker.finished == 1200)


def test_other_queues_go_on(
    start_worker: Callable[..., QueueWorker], enqueue: Enqueue, rest: Callable[..., None], eventually: Eventually,
    depth: Callable[..., int],
) -> None:  # fmt: skip
    rest("low")
    start_worker()
    enqueue([*records(5, priority=3), *records(7, priority=1)])
    eventually(lambda: depth("high") == 0)
    assert (depth("low"), Message.select().count()) == (5, 7)


def test_a_worker_shrinks_without_losing_a_call(
    start_worker: Callable[..., QueueWorker], enqueue: Enqueue, rest: Callable[..., None], gate: threading.Event,
    eventually: Eventually, depth: Callable[..., int],
) -> None:  # fmt: skip
    worker = start_worker(threads=3)
    for _ in range(6):
        enqueue(records(400))
    eventually(lambda: worker.in_hand == 4)
    before = list(worker.workers)
    assert worker.resize(1)
    assert not worker.resize(1)
    assert len(worker.workers) == 1
    assert all(thread.is_alive() for thread in before), "they finish the call in hand"
    assert worker.dead_threads() == []
    gate.set()
    eventually(lambda: sum(thread.is_alive() for thread in before) == 1)
    eventually(lambda: depth() == 0)
    assert Message.select().count() == 2400
    assert worker.dead_threads() == [], "those who were asked to go are not missed"


def test_a_worker_grows(
    start_worker: Callable[..., QueueWorker], enqueue: Enqueue, rest: Callable[..., None], gate: threading.Event,
    eventually: Eventually,
) -> None:  # fmt: skip
    worker = start_worker(threads=1)
    for _ in range(6):
        enqueue(records(400))
    eventually(lambda: worker.in_hand == 2)
    worker.resize(4)
    eventually(lambda: worker.in_hand == 5)
    gate.set()
    eventually(lambda: Message.select().count() == 2400)


def test_stopping_waits_for_a_thread_that_was_asked_to_go(
    start_worker: Callable[..., QueueWorker], enqueue: Enqueue, rest: Callable[..., None], gate: threading.Event,
    eventually: Eventually, depth: Callable[..., int], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    worker = start_worker(threads=2)
    leaving, waiting, others = worker.workers[-1], storing.store, threading.Event()

    def slower(*given: object, **named: object) -> Stored:
        if threading.current_thread() is leaving:
            others.wait(20)
        return waiting(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(storing, "store", slower)
    for _ in range(2):
        enqueue(records(400))
    eventually(lambda: worker.in_hand == 2)
    time.sleep(0.1)
    worker.resize(1)
    gate.set()
    eventually(lambda: depth() == 400)
    threading.Timer(0.5, others.set).start()
    worker.stop(10_000)
    assert (Message.select().count(), depth()) == (800, 0)
    assert not worker.resize(5)


def test_who_cannot_look_begins_nothing(sqlite: pw.Database, monkeypatch: pytest.MonkeyPatch, eventually: Eventually) -> None:
    real = steering.refresh

    def away() -> None:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(steering, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(steering, "refresh", away)
    looks: list[int] = []
    follower = Follower(lambda: 1 / 0, lambda: looks.append(1))
    with capture_logs():
        follower.start()
    assert "critical" in steering.paused()
    monkeypatch.setattr(steering, "refresh", real)
    with capture_logs():
        eventually(lambda: not steering.paused())
        follower.stop()
    assert len(looks) > 1, "one that fails stops no other"


def test_rates_are_counted_where_messages_pass(
    broker: Broker, client: redis_py.Redis, enqueue: Enqueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue([*records(90), *records(30, priority=0)])
    consumer = consumer_of(broker)
    consumer.ack(take(consumer))
    queue_rates.count_delivered("low", 60)
    queue_rates.flush(client)
    found = queue_rates.rates(client)
    seconds = 90 / found["normal"].into
    assert 60 <= seconds <= 71
    assert found["critical"].into == pytest.approx(30 / seconds, abs=0.02)
    assert (found["normal"].stored, found["critical"].stored) == (found["normal"].into, 0)
    assert found["low"].delivered == pytest.approx(60 / seconds, abs=0.2)
    keys = list(client.scan_iter("messagebroker:rate:*"))
    assert all(0 < client.ttl(key) <= 120 for key in keys), "Redis forgets them by itself"


def test_a_statistic_is_never_why_enqueueing_fails(
    client: redis_py.Redis, broker: Broker, enqueue: Enqueue, depth: Callable[..., int]
) -> None:
    second = int(client.time()[0])
    for bucket in (second // 10, second // 10 + 1):
        client.set(f"messagebroker:rate:{bucket}", "of a wrong type")
    enqueue(records(3))
    consumer = consumer_of(broker)
    consumer.ack(take(consumer))
    assert depth() == 0
