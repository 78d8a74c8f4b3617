"""The next messages, without taking them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import peewee as pw
import pytest
import redis as redis_py
from support.plans import counting_reads, explain, rows_by_name, statements
from support.queued import enqueue, put
from support.records import record, records
from support.subscribing import Office, subscribe

from messagebroker.db.connection import connected, is_mysql
from messagebroker.db.models import Delivery
from messagebroker.errors import NotFound, Refused
from messagebroker.ops import queue_peek
from messagebroker.ops.due import database_now
from messagebroker.settings import Settings


@pytest.fixture
def office(database: pw.Database, settings: Settings) -> Office:
    return Office(settings)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis_py.Redis]:
    with redis_py.Redis.from_url(redis_url) as made:
        yield made


def test_the_next_messages_are_those_to_be_stored_then_those_that_are_due(office: Office, client: redis_py.Redis) -> None:
    first, second = subscribe(["a"]), subscribe(["b"])
    (old,), (new,), (later,) = put(office, topic="b"), put(office, topic="a"), put(office, topic="a")
    put(office, topic="a", priority=3)
    for one, seconds in ((old, -30), (new, -10), (later, 60)):
        Delivery.update(due_at=database_now() + timedelta(seconds=seconds), attempts=2).where(
            Delivery.message == one.id
        ).execute()
    waiting = [record(topic="w"), record(topic="w")]
    for one in waiting:
        enqueue(client, [one])
    found = queue_peek.peek(client, "normal", 10)
    assert [(one.state, one.message_id, one.subscription_id) for one in found] == [
        ("accepted", waiting[0].id, None), ("accepted", waiting[1].id, None), ("due", old.id, second), ("due", new.id, first),
    ]  # fmt: skip
    assert [one.attempts for one in found] == [0, 0, 2, 2]
    assert (found[0].topic, found[2].client) == ("w", "acme")
    assert client.llen("messagebroker:normal") == 2, "nothing was taken"
    assert [one.message_id for one in queue_peek.peek(client, "normal", 3)] == [one.message_id for one in found[:3]]
    with pytest.raises(Refused, match="main's own jobs"):
        queue_peek.peek(client, "ops", 1)
    with pytest.raises(NotFound, match="the queues are"):
        queue_peek.peek(client, "email", 1)


@pytest.mark.usefixtures("database")
def test_a_call_that_nobody_can_read_hides_no_other(client: redis_py.Redis) -> None:
    client.rpush("messagebroker:low", "0.1.x", "0.1.gone")
    client.hset("messagebroker:low.msgs", "0.1.x", b"\xc1")
    enqueue(client, records(2, priority=3))
    assert len(queue_peek.peek(client, "low", 5)) == 2


def test_peeking_into_a_backlog_reads_little(office: Office) -> None:
    for name in "abc":
        subscribe([name])
    for name in "abc":
        put(office, 300, topic=name)
    with connected():
        heads = queue_peek.heads(2, 5)
        assert len(heads) == 5
        if is_mysql():
            Delivery._meta.database.execute_sql("ANALYZE TABLE deliveries").fetchall()
            with counting_reads() as read, statements() as sent:
                queue_peek.heads(2, 5)
            assert read[0] < 100, [rows_by_name(f"{explain()} {sql}") for sql, _ in sent]
