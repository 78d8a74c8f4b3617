from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

import dramatiq
import pytest
import redis as redis_py
from support.calls import carried, consumer_of, take
from support.records import KEYS, record, records
from support.servers import Redis

from messagebroker.actors import ingest
from messagebroker.actors.broker import SCRIPTS, Broker
from messagebroker.ops.queues import depths
from messagebroker.ops.records import Record
from messagebroker.ops.redis_client import DEPTH

Enqueue = Callable[[list[Record]], None]


def test_records_go_to_the_queue_of_their_priority(client: redis_py.Redis, broker: Broker, enqueue: Enqueue) -> None:
    enqueue([record(priority=number) for number in (0, 1, 2, 3, 3)])
    assert {found.queue: found.messages for found in depths(client)} == {
        "critical": 1,
        "high": 1,
        "normal": 1,
        "low": 2,
        "ops": 0,
    }


def test_a_call_has_at_most_500_messages_and_keeps_their_order(
    client: redis_py.Redis, broker: Broker, enqueue: Enqueue
) -> None:
    many = records(1201)
    enqueue(many)
    assert next(found for found in depths(client) if found.queue == "normal").calls == 3
    consumer = consumer_of(broker)
    assert [len(carried(take(consumer))) for _ in range(3)] == [500, 500, 201]


def test_large_messages_make_more_calls(client: redis_py.Redis, enqueue: Enqueue) -> None:
    enqueue([record(sealed=bytes(1024 * 1024)) for _ in range(9)])
    assert next(found for found in depths(client) if found.queue == "normal").calls == 3


def test_enqueueing_needs_nothing_loaded_beforehand(client: redis_py.Redis, enqueue: Enqueue) -> None:
    client.script_flush()
    enqueue(records(1))
    assert client.hget(DEPTH, "normal") == b"1"


@pytest.fixture
def full_redis() -> Iterator[redis_py.Redis]:
    with Redis(maxmemory="6mb") as server, redis_py.Redis(port=server.port) as client:
        yield client


def fill(client: redis_py.Redis) -> None:
    for size in (10_000, 100, 1):  # the last refusal leaves less room than a call takes
        with contextlib.suppress(redis_py.OutOfMemoryError):
            for number in itertools.count():
                client.set(f"ballast:{size}:{number}", bytes(size))


def test_a_full_redis_refuses_an_enqueueing_whole(full_redis: redis_py.Redis) -> None:
    fill(full_redis)
    pipe = full_redis.pipeline(transaction=True)
    ingest.add_calls(pipe, [record(priority=0), record(priority=1)], KEYS)
    with pytest.raises(redis_py.RedisError, match=r"maxmemory|previous errors"):
        pipe.execute()
    assert [found.calls for found in depths(full_redis)] == [0] * 5


def test_a_full_redis_is_drained(full_redis: redis_py.Redis) -> None:
    pipe = full_redis.pipeline(transaction=True)
    ingest.add_calls(pipe, records(300), KEYS)
    ingest.add_calls(pipe, records(300), KEYS)
    pipe.execute()
    fill(full_redis)
    run = full_redis.eval
    args = ("messagebroker", "normal", "worker")
    for round_ in range(2):
        run(SCRIPTS["maintain"], 0, *args, 15_000, "critical,high,normal,low,ops")
        _, call_id, _, _ = run(SCRIPTS["fetch"], 0, *args, 300, 10_000_000)
        if round_ == 0:
            assert run(SCRIPTS["requeue"], 0, *args, call_id) == 1
            _, call_id, _, _ = run(SCRIPTS["fetch"], 0, *args, 300, 10_000_000)
        assert run(SCRIPTS["ack"], 0, *args, call_id) == 300
    assert full_redis.hget(DEPTH, "normal") == b"0"


def test_one_call_under_one_name(broker: Broker, client: redis_py.Redis) -> None:
    message: dramatiq.Message[None] = dramatiq.Message(
        queue_name="ops", actor_name="job", args=(), kwargs={}, options={"once": "messagebroker:once:job:1"}
    )
    for _ in range(3):
        broker.enqueue(message)
    assert client.llen("messagebroker:ops") == 1
    assert client.hget(DEPTH, "ops") == b"1"


def test_a_delay_is_refused(broker: Broker) -> None:
    message: dramatiq.Message[None] = dramatiq.Message(queue_name="ops", actor_name="job", args=(), kwargs={}, options={})
    with pytest.raises(ValueError, match="row"):
        broker.enqueue(message, delay=1000)


@pytest.mark.parametrize("key", ["messagebroker:normal", "messagebroker:normal.msgs", DEPTH])
def test_a_key_of_a_wrong_type_refuses_an_enqueueing_whole(client: redis_py.Redis, enqueue: Enqueue, key: str) -> None:
    """The sender is told that nothing was taken, and sends again."""
    client.set(key, "x")
    with pytest.raises(redis_py.ResponseError, match="WRONGTYPE"):
        enqueue([record()])
    assert [name for name in ("messagebroker:normal", "messagebroker:normal.msgs", DEPTH) if client.exists(name)] == [key]


def test_a_depth_that_is_no_number_refuses_an_enqueueing_whole(client: redis_py.Redis, enqueue: Enqueue) -> None:
    client.hset(DEPTH, "normal", "x")
    with pytest.raises(redis_py.ResponseError, match="not an integer"):
        enqueue([record()])
    assert client.exists("messagebroker:normal", "messagebroker:normal.msgs") == 0
