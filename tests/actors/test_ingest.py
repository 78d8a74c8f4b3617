"""Calls become rows: redelivered, poisoned, bad, interrupted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import peewee as pw
import pytest
import redis as redis_py
from support.cast import TEST
from support.records import KEYS, record, records
from support.subscribing import Office, subscribe

from messagebroker.actors import consumer, storing
from messagebroker.actors.broker import SCRIPTS
from messagebroker.actors.queue_worker import QueueWorker, stop_together
from messagebroker.actors.stopping import Requeue
from messagebroker.actors.storing import store_calls
from messagebroker.actors.waits import WAITS
from messagebroker.db.models import IngestFailure, Message, MessageAlias
from messagebroker.errors import NotFound, Refused, Unavailable
from messagebroker.ops import clock, failures, metrics, store
from messagebroker.ops.deliveries import claiming
from messagebroker.ops.queues import depths
from messagebroker.ops.records import CALL_FORMAT, IngestCall, Record, decode_call, encode_call
from messagebroker.ops.redis_client import CRASHES
from messagebroker.settings import Settings

pytestmark = pytest.mark.clocked

Enqueue = Callable[[list[Record]], None]
Start = Callable[..., QueueWorker]
Eventually = Callable[..., Any]

KEY_LIST = list(KEYS.values())


def run(*calls: bytes, crashes: int = 0) -> None:
    store_calls(calls, queue="normal", crashes=crashes, stopping=threading.Event())


def stored() -> set[bytes]:
    return {bytes(message.id) for message in Message.select(Message.id)}


def set_aside() -> dict[bytes, str]:
    return {bytes(failure.id): failure.error for failure in IngestFailure.select()}


# without Redis


def test_redelivered_calls_store_nothing_twice(database: pw.Database) -> None:
    first, second = records(20), records(20)
    run(encode_call(first, KEY_LIST))
    run(encode_call(first, KEY_LIST), encode_call(second, KEY_LIST))
    run(encode_call(second, KEY_LIST))
    assert stored() == {one.id for one in first + second}
    assert Message.select().count() == 40


def test_one_bad_row_does_not_hold_up_its_neighbours(database: pw.Database) -> None:
    many = records(500)
    many[237] = record(idempotency_key=b"too short")
    many[238] = record(topic="x" * 201) if isinstance(database, pw.MySQLDatabase) else record(accepted_at=-1)
    run(encode_call(many, KEY_LIST))
    bad = {many[237].id, many[238].id}
    assert stored() == {one.id for one in many} - bad
    assert set_aside().keys() == bad


def test_what_was_set_aside_is_kept_whole_and_can_be_retried(database: pw.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    one = record()
    with monkeypatch.context() as patch:
        patch.setattr(storing, "store", _refuse)
        run(encode_call([one], KEY_LIST))
    failure = IngestFailure.get()
    assert (bytes(failure.id), failure.client_id, failure.error) == (one.id, "acme", "ValueError: not today")
    assert decode_call(bytes(failure.record)) == IngestCall(CALL_FORMAT, [one], KEY_LIST)
    assert failures.retry(one.id, TEST, None).stored == 1
    assert (stored(), set_aside()) == ({one.id}, {})
    with pytest.raises(NotFound, match="queue failures"):
        failures.retry(one.id, TEST, None)


def _refuse(*_: object, **__: object) -> None:
    raise ValueError("not today")


def test_a_retry_that_is_refused_again_keeps_the_record(database: pw.Database) -> None:
    bad = record(sender_hash=b"short")
    run(encode_call([bad], KEY_LIST))
    with pytest.raises(Refused, match="16"):
        failures.retry(bad.id, TEST, None)
    assert set_aside().keys() == {bad.id}


def test_a_record_without_its_key_is_set_aside(database: pw.Database) -> None:
    run(encode_call([record()], []))
    assert "lacks the data key" in next(iter(set_aside().values()))


@pytest.mark.parametrize(
    "call",
    [b"", b"\xc1", msgspec.msgpack.encode([1, "records", []]), msgspec.msgpack.encode(IngestCall(CALL_FORMAT + 1, [], []))],
)
def test_an_unreadable_call_is_kept_once_and_its_neighbours_are_stored(database: pw.Database, call: bytes) -> None:
    for _ in range(2):
        run(call, encode_call(records(1), KEY_LIST))
    failure = IngestFailure.get()
    assert (bytes(failure.record), failure.client_id) == (call, "unknown")
    assert len(stored()) == 2
    assert failures.all_ids() == [bytes(failure.id)]


def test_calls_of_the_previous_format_are_still_read(database: pw.Database) -> None:
    """As they wait in Redis while an installation is upgraded: fields that came later are missing at their end."""
    now, old = record(), record()
    fields = [getattr(old, name) for name in Record.__struct_fields__[:8]]
    run(msgspec.msgpack.encode([CALL_FORMAT - 1, [fields], KEY_LIST]), encode_call([now], KEY_LIST))
    assert stored() == {old.id, now.id}
    assert set_aside() == {}


def test_a_call_that_killed_three_workers_is_set_aside(database: pw.Database) -> None:
    two = records(2)
    run(encode_call(two, KEY_LIST), crashes=2)
    assert len(stored()) == 2
    killers = records(2)
    run(encode_call(killers, KEY_LIST), crashes=3)
    assert set_aside() == {one.id: "killed its worker 3 times" for one in killers}
    run(encode_call(killers, KEY_LIST), crashes=4)
    assert len(set_aside()) == 3, "when setting it aside killed too, the bytes are kept unread"


def test_copies_from_two_requests_become_an_alias(database: pw.Database) -> None:
    first, later = (record(idempotency_key=b"k" * 20) for _ in range(2))
    run(encode_call([first], KEY_LIST), encode_call([later], KEY_LIST))
    assert stored() == {first.id}
    assert bytes(MessageAlias.get().id) == later.id


def test_an_outage_is_waited_out(sqlite: pw.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = iter([Unavailable("gone"), pw.OperationalError(1146, "no such table"), Unavailable("gone")])

    def sometimes(*args: Any, **kwargs: Any) -> store.Stored:
        for error in failing:
            raise error
        return store.store(*args, **kwargs)

    monkeypatch.setattr(storing, "store", sometimes)
    run(encode_call(records(2), KEY_LIST))
    assert len(stored()) == 2
    assert not set_aside(), "what would meet every record is no fault of this one"


def test_while_it_waits_readiness_and_the_metric_say_so(
    sqlite: pw.Database, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """As with a full disk: the database answers every question and takes no row."""
    full = threading.Event()
    full.set()

    def sometimes(*args: Any, **kwargs: Any) -> store.Stored:
        if full.is_set():
            raise pw.OperationalError(1114, "The table 'messages' is full")
        return store.store(*args, **kwargs)

    monkeypatch.setattr(storing, "store", sometimes)
    assert WAITS.check() is None
    work = threading.Thread(target=run, args=(encode_call(records(2), KEY_LIST),))
    work.start()
    try:
        eventually(lambda: "is full" in (WAITS.check() or ""))
        assert metrics.REGISTRY.get_sample_value("messagebroker_database_down") == 1
    finally:
        full.clear()
        work.join(10)
    assert WAITS.check() is None
    assert metrics.REGISTRY.get_sample_value("messagebroker_database_down") == 0
    assert len(stored()) == 2


def test_a_stop_during_an_outage_gives_the_call_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise Unavailable("gone")

    monkeypatch.setattr(storing, "store", gone)
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(Requeue):
        store_calls([encode_call(records(1), KEY_LIST)], queue="normal", crashes=0, stopping=stopping)


# through Redis


def test_what_is_enqueued_is_stored_and_leaves_redis(
    sqlite: pw.Database, client: redis_py.Redis, enqueue: Enqueue, start_worker: Start, eventually: Eventually
) -> None:
    start_worker()
    many = [record(priority=number % 4) for number in range(400)]
    for at in range(0, 400, 10):
        enqueue(many[at : at + 10])
    eventually(lambda: not any(found.messages for found in depths(client)))
    assert stored() == {one.id for one in many}
    assert not any(found.calls for found in depths(client))


def test_singles_share_transactions(
    sqlite: pw.Database, enqueue: Enqueue, start_worker: Start, depth: Callable[..., int], eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    sizes: list[int] = []

    def counting(found: list[Record], *args: Any, **kwargs: Any) -> store.Stored:
        sizes.append(len(found))
        return store.store(found, *args, **kwargs)

    monkeypatch.setattr(storing, "store", counting)
    start_worker()
    for one in records(500):
        enqueue([one])
    eventually(lambda: depth() == 0)
    assert sum(sizes) == 500
    assert len(sizes) < 150


def test_a_stop_while_the_database_is_down_is_quick_and_keeps_everything(
    sqlite: pw.Database, client: redis_py.Redis, enqueue: Enqueue, start_worker: Start, depth: Callable[..., int],
    eventually: Eventually, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    tried = threading.Event()

    def gone(*_: object, **__: object) -> None:
        tried.set()
        raise Unavailable("gone")

    monkeypatch.setattr(storing, "store", gone)
    worker = start_worker()
    for _ in range(5):
        enqueue(records(300))
    assert tried.wait(5)
    began = time.monotonic()
    stop_together([worker], 10)
    assert time.monotonic() - began < 3
    assert client.llen("messagebroker:normal") == 5
    assert depth() == 1500
    assert not client.exists(CRASHES)


def test_an_error_that_nobody_foresaw_loses_no_call(
    sqlite: pw.Database, enqueue: Enqueue, start_worker: Start, depth: Callable[..., int], eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    real, failing = storing._Storing, iter([True])

    def once(*args: Any) -> Any:
        if next(failing, False):
            raise RuntimeError("a bug")
        return real(*args)

    monkeypatch.setattr(storing, "_Storing", once)
    start_worker()
    enqueue(records(3))
    eventually(lambda: depth() == 0)
    assert len(stored()) == 3


def test_redis_restarting_under_load_loses_and_doubles_nothing(
    sqlite: pw.Database, client: redis_py.Redis, enqueue: Enqueue, start_worker: Start, eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(consumer, "MAINTAIN_EVERY", 0.3)
    start_worker()
    many = records(2000)
    for at in range(0, 2000, 5):
        enqueue(many[at : at + 5])
        if at % 200 == 0:  # every connection breaks; answers get lost
            client.client_kill_filter(_type="normal", skipme=True)
            client.client_kill_filter(_type="pubsub", skipme=True)
            client.script_flush()
    eventually(lambda: not any(found.calls or found.messages for found in depths(client)), 20)
    assert stored() == {one.id for one in many}


def test_a_suspect_is_cleared_by_finishing(
    sqlite: pw.Database, client: redis_py.Redis, enqueue: Enqueue, start_worker: Start, depth: Callable[..., int],
    eventually: Eventually,
) -> None:  # fmt: skip
    enqueue(records(2))
    call_id = client.lindex("messagebroker:normal", 0)
    client.hset(CRASHES, call_id, 2)
    start_worker()
    eventually(lambda: depth() == 0)
    assert len(stored()) == 2
    assert not client.exists(CRASHES)


def test_a_killer_is_set_aside_at_its_fourth_turn(
    sqlite: pw.Database, client: redis_py.Redis, enqueue: Enqueue, start_worker: Start, depth: Callable[..., int],
    eventually: Eventually,
) -> None:  # fmt: skip
    one = record()
    enqueue([one])
    client.hset(CRASHES, client.lindex("messagebroker:normal", 0), 3)
    start_worker()
    eventually(lambda: depth() == 0)
    assert set_aside() == {one.id: "killed its worker 3 times"}


@pytest.mark.usefixtures("expects_dead_letters")
def test_a_call_for_an_actor_of_another_version_is_kept(
    sqlite: pw.Database, client: redis_py.Redis, start_worker: Start, depth: Callable[..., int], eventually: Eventually
) -> None:
    call = {"queue_name": "normal", "actor_name": "later", "args": [], "kwargs": {}, "options": {}, "message_id": "x",
            "message_timestamp": 0}  # fmt: skip
    client.eval(SCRIPTS["enqueue"], 0, "messagebroker", "normal", "0000000000000.1.x", msgspec.msgpack.encode(call), 1, "")
    start_worker()
    eventually(lambda: client.zcard("messagebroker:normal.XQ") == 1)
    assert depth() == 0
    assert depths(client)[2].dead_letters == 1


@pytest.mark.parametrize("wrong", [b"", b"abc", b"a" * 40])
def test_a_record_whose_id_is_none_is_set_aside(database: pw.Database, wrong: bytes) -> None:
    good = record()
    run(encode_call([record(id=wrong), good], KEY_LIST))
    assert stored() == {good.id}
    assert len(set_aside()) == 1


def test_when_a_delivery_is_due_is_said_by_the_databases_clock(
    database: pw.Database, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """A worker whose clock is wrong by an hour would keep its messages back for so long, or hold leases that are over."""
    office = Office(settings)
    number = subscribe()
    one = office.record()
    wrong = clock.now() + timedelta(hours=1)
    monkeypatch.setattr(clock, "now", lambda: wrong)
    storing.use(office.router)
    try:
        run(encode_call([one], list(office.keys.values())))
    finally:
        storing.use(None)
    assert [due.subscription_id for due in claiming.due()] == [number]
