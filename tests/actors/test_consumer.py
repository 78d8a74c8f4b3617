from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import redis as redis_py
from support.calls import carried, consumer_of, take
from support.records import record, records

from messagebroker.actors.broker import SCRIPTS, Broker
from messagebroker.actors.consumer import MERGE_MESSAGES
from messagebroker.ops.queues import HEARTBEATS, depths, guard_legacy_key, running_key
from messagebroker.ops.records import Record
from messagebroker.ops.redis_client import CRASHES, DEPTH
from messagebroker.settings import Settings

pytestmark = pytest.mark.clocked

Enqueue = Callable[[list[Record]], None]


def test_small_calls_are_taken_together_and_acknowledged_together(
    broker: Broker, client: redis_py.Redis, enqueue: Enqueue, depth: Callable[..., int]
) -> None:
    sent = [record() for _ in range(700)]
    for one in sent:
        enqueue([one])
    consumer = consumer_of(broker)
    first, second = take(consumer), take(consumer)
    assert [len(first.args), len(second.args)] == [MERGE_MESSAGES, 200]
    assert [one.id for one in carried(first) + carried(second)] == [one.id for one in sent]
    assert depth() == 700
    consumer.ack(first)
    assert depth() == 200
    consumer.ack(second)
    assert (depth(), client.hlen("messagebroker:normal.msgs")) == (0, 0)


def test_no_more_is_taken_than_asked_for(broker: Broker, enqueue: Enqueue) -> None:
    enqueue(records(1500))
    consumer = consumer_of(broker, prefetch=2)
    first = take(consumer)
    take(consumer)
    assert next(consumer) is None
    consumer.ack(first)
    assert take(consumer) is not None


def test_an_idle_consumer_wakes_at_once(broker: Broker, enqueue: Enqueue) -> None:
    consumer = broker.consume("normal", prefetch=1, timeout=5000)
    next_in = iter(lambda: (time.perf_counter(), next(consumer)), None)
    time.sleep(0.2)  # the subscription
    later = threading.Timer(0.3, enqueue, [[record()]])
    later.start()
    began, found = next(next_in)
    while found is None:
        began, found = next(next_in)
    assert time.perf_counter() - began < 1.5
    later.join()


def test_requeued_calls_come_first_and_in_order(broker: Broker, enqueue: Enqueue, depth: Callable[..., int]) -> None:
    first, second, third = records(3)
    enqueue([first])
    consumer = consumer_of(broker)
    one = take(consumer)
    enqueue([second])
    two = take(consumer)
    enqueue([third])
    consumer.requeue([one, two])
    assert depth() == 3
    assert [found.id for found in carried(take(consumer))] == [first.id, second.id, third.id]


def test_close_gives_back_what_was_not_handed_out(broker: Broker, client: redis_py.Redis, enqueue: Enqueue) -> None:
    enqueue([record()])
    consumer = consumer_of(broker)
    consumer._fetch()
    consumer.close()
    assert client.llen("messagebroker:normal") == 1


def test_calls_of_a_silent_worker_are_taken_back(
    broker: Broker, another_broker: Broker, client: redis_py.Redis, enqueue: Enqueue, depth: Callable[..., int]
) -> None:
    enqueue(records(2))
    held = take(consumer_of(another_broker))
    mine = consumer_of(broker)
    assert next(mine) is None
    client.zadd(HEARTBEATS, {another_broker.name: 1})  # silent since 1970
    mine._maintain()
    back = take(mine)
    assert [one.id for one in carried(back)] == [one.id for one in carried(held)]
    assert back.options["crashes"] == 1
    assert depth() == 2
    mine.ack(back)
    assert depth() == 0
    another_broker.consume("normal").ack(held)
    assert depth() == 0, "a late ack of the worker that was thought dead counts nothing"
    assert client.hlen(CRASHES) == 0
    assert client.zscore(HEARTBEATS, another_broker.name) is None


def test_after_redis_was_away_nobody_is_dead_at_once(
    broker: Broker, another_broker: Broker, client: redis_py.Redis, enqueue: Enqueue
) -> None:
    enqueue([record()])
    take(consumer_of(another_broker))
    mine = consumer_of(broker)
    next(mine)
    client.hset("messagebroker:maintained", "normal", 1)  # nobody was here since 1970
    client.zadd(HEARTBEATS, {another_broker.name: 1})
    mine._maintain()
    assert client.scard(running_key("normal", another_broker.name)) == 1
    mine._maintain()
    assert client.scard(running_key("normal", another_broker.name)) == 0


def test_a_call_whose_answer_got_lost_is_found(broker: Broker, client: redis_py.Redis, enqueue: Enqueue) -> None:
    enqueue([record()])
    consumer = consumer_of(broker)
    broker.run("fetch", "normal", 500, 10_000_000)  # as if the connection broke before the answer
    assert client.llen("messagebroker:normal") == 0
    assert take(consumer).options["crashes"] == 0


def test_suspects_travel_alone(broker: Broker, client: redis_py.Redis, enqueue: Enqueue) -> None:
    for _ in range(3):
        enqueue([record()])
    ids = client.lrange("messagebroker:normal", 0, -1)
    client.hset(CRASHES, ids[1], 1)
    consumer = consumer_of(broker)
    assert [(take(consumer).options["crashes"], 1) for _ in range(3)] == [(0, 1), (1, 1), (0, 1)]


def test_who_kills_three_workers_is_known_and_who_only_waited_is_not(
    broker: Broker, redis_settings: Settings, client: redis_py.Redis, enqueue: Enqueue
) -> None:
    killer, bystander = records(2)
    enqueue([killer])
    enqueue([bystander])
    mine = consumer_of(broker, prefetch=0)
    mine._maintain()
    deaths = 0
    while True:
        dying = Broker()
        dying.actors = broker.actors
        dying.connect_to(redis_settings)
        held = [take(consumer_of(dying))]
        if held[0].options["crashes"]:  # alone from now on; before, both travelled together
            held.append(take(consumer_of(dying)))
        starts = next(one for one in held if carried(one)[0].id == killer.id)
        if starts.options["crashes"] == 3:
            break
        dying.suspects.before_process_message(dying, starts)
        dying.close()
        deaths += 1
        client.zadd(HEARTBEATS, {dying.name: 1})
        mine._maintain()
    dying.close()
    assert deaths == 3
    crashes = {carried(one)[0].id: one.options["crashes"] for one in held}
    assert crashes == {killer.id: 3, bystander.id: 1}


@pytest.mark.usefixtures("expects_dead_letters")
def test_bytes_that_are_no_call_become_a_dead_letter(
    broker: Broker, client: redis_py.Redis, enqueue: Enqueue, depth: Callable[..., int]
) -> None:
    args = ["messagebroker", "normal", "0000000000000.1.x", b"\xc1", 1, ""]
    client.eval(SCRIPTS["enqueue"], 0, *args)
    enqueue([record()])
    assert len(carried(take(consumer_of(broker)))) == 1
    assert (client.zcard("messagebroker:normal.XQ"), depth()) == (1, 1)


SHAPE: dict[str, Any] = {
    "queue_name": "normal", "actor_name": "ingest_normal", "args": [b"x"], "kwargs": {}, "options": {}, "message_id": "m",
    "message_timestamp": 1,
}  # fmt: skip


@pytest.mark.usefixtures("expects_dead_letters")
@pytest.mark.parametrize(
    "wrong",
    [{"args": 5}, {"args": [1]}, {"args": ["text"]}, {"args": [None]}, {"args": {"a": 1}}, {"kwargs": {"a": 1}},
     {"kwargs": [1]}, {"options": 5}, {"options": [1]}, {"actor_name": 5}, {"actor_name": [5]}, {"more": 1},
     {"queue_name": "high"}, {"queue_name": 5}],
)  # fmt: skip
def test_a_call_of_a_wrong_shape_stops_nobody_else(
    broker: Broker, client: redis_py.Redis, enqueue: Enqueue, wrong: dict[str, Any]
) -> None:
    """It would be tried again and again at the head of its queue."""
    poison = msgspec.msgpack.encode({**SHAPE, **wrong})
    client.eval(SCRIPTS["enqueue"], 0, "messagebroker", "normal", "0000000000000.1.x", poison, 1, "")
    enqueue([record()])
    assert len(carried(take(consumer_of(broker)))) == 1
    assert client.zcard("messagebroker:normal.XQ") == 1


@pytest.mark.usefixtures("expects_dead_letters")
def test_a_call_under_an_id_that_is_no_text_stops_nobody_else(broker: Broker, client: redis_py.Redis, enqueue: Enqueue) -> None:
    client.eval(SCRIPTS["enqueue"], 0, "messagebroker", "normal", b"\xff\xfe", msgspec.msgpack.encode(SHAPE), 1, "")
    enqueue([record()])
    assert len(carried(take(consumer_of(broker)))) == 1
    assert client.zcard("messagebroker:normal.XQ") == 1


def test_a_depth_that_no_call_backs_is_put_right(broker: Broker, client: redis_py.Redis, enqueue: Enqueue) -> None:
    enqueue(records(3))
    client.delete("messagebroker:normal", "messagebroker:normal.msgs")
    consumer_of(broker)._maintain()
    assert client.hget(DEPTH, "normal") == b"0"


def test_the_old_queues_name_fails_loudly(client: redis_py.Redis) -> None:
    guard_legacy_key(client)
    with pytest.raises(redis_py.ResponseError, match="WRONGTYPE"):
        client.llen("message_queue")


def test_the_oldest_message_may_be_running(broker: Broker, client: redis_py.Redis, enqueue: Enqueue) -> None:
    enqueue([record()])
    take(consumer_of(broker))
    time.sleep(0.05)
    found = next(found for found in depths(client) if found.queue == "normal")
    assert found.oldest_seconds >= 0.05
    assert (found.running, found.calls) == (1, 1)
