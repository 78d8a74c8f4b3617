"""The next messages of a queue, without taking them and without their bodies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec
import redis

from messagebroker.db.connection import connected, database, is_mysql
from messagebroker.db.hints import by_index
from messagebroker.db.models import PRIORITIES, Delivery, Message
from messagebroker.db.writing import time_now
from messagebroker.errors import Refused
from messagebroker.ops import clock, queues
from messagebroker.ops.deliveries import claiming
from messagebroker.ops.delivery_counts import INDEX
from messagebroker.ops.pausing import known
from messagebroker.ops.records import records_of_call

MOST = 200


@dataclass(frozen=True, kw_only=True)
class Peeked:
    """A message that is to be stored, or one of its deliveries that is due."""

    state: Literal["accepted", "due"]
    message_id: bytes
    client: str
    topic: str
    created_at: datetime  # accepted by the proxy
    age_seconds: float  # since then
    subscription_id: int | None  # whom it is for; None before it is stored
    attempts: int


def of_messages(queue: str) -> int:
    """The priority of a queue.

    Raises:
        NotFound: no such queue.
        Refused: it holds no messages.
    """
    if known(queue) not in PRIORITIES:
        raise Refused(f"{queue} holds main's own jobs and no messages; those are in {', '.join(PRIORITIES)}")
    return PRIORITIES.index(queue)


def peek(client: redis.Redis, queue: str, limit: int) -> list[Peeked]:
    """Up to `limit`: what waits to be stored first, then what is due for delivery, the longest due first.

    Raises:
        NotFound, Refused: as `of_messages`.
        Unavailable: the database does not answer.
        redis.RedisError: Redis does not.
    """
    priority = of_messages(queue)
    found = list(_accepted(client, queue, limit))
    return found + (_due(priority, limit - len(found)) if len(found) < limit else [])


def _accepted(client: redis.Redis, queue: str, limit: int) -> Iterator[Peeked]:
    waiting: Any = client.lrange(queues.list_key(queue), 0, limit - 1)
    left = limit
    for call_id in waiting:  # one after the other: a call may have 4 MiB
        call: Any = client.hget(queues.calls_key(queue), call_id)
        for record in _records(call)[:left]:
            left -= 1
            created_at = clock.from_micros(record.accepted_at)
            yield Peeked(
                state="accepted",
                message_id=record.id,
                client=record.client,
                topic=record.topic,
                created_at=created_at,
                age_seconds=_age(created_at),
                subscription_id=None,
                attempts=0,
            )
        if not left:
            return


def _records(call: bytes | None) -> list[Any]:
    """None of a call that was taken meanwhile, or that nobody can read: a worker sets that aside."""
    try:
        return [] if call is None else records_of_call(call)
    except (msgspec.MsgspecError, ValueError):
        return []


def _due(priority: int, limit: int) -> list[Peeked]:
    """At most a few rows of each subscription are looked at, however many there are."""
    with connected():
        keys = heads(priority, limit)
        wanted = sorted({message for message, _ in keys})
        messages = {bytes(row.id): row for row in Message.select(*_PLAIN).where(Message.id << wanted)} if wanted else {}
        rows = Delivery.select(Delivery.message, Delivery.subscription_id, Delivery.attempts).where(Delivery.message << wanted)
        attempts = {(bytes(row.message_id), row.subscription_id): row.attempts for row in rows} if wanted else {}
    return [
        Peeked(
            state="due",
            message_id=message_id,
            client=messages[message_id].client_id,
            topic=messages[message_id].topic,
            created_at=messages[message_id].created_at,
            age_seconds=_age(messages[message_id].created_at),
            subscription_id=subscription,
            attempts=attempts.get((message_id, subscription), 0),
        )
        for message_id, subscription in keys
        if message_id in messages
    ]


def heads(priority: int, limit: int) -> list[tuple[bytes, int]]:
    """Message and subscription of the deliveries that have been due for longest. For callers with a connection.

    Of more subscriptions than rows are wanted, those whose first delivery is due later cannot be among the first.
    """
    numbers = [group.subscription_id for group in claiming.due() if group.priority == priority][:limit]
    due = f"FROM deliveries{by_index(INDEX)} WHERE status = 'pending' AND priority = {priority:d}"
    parts = [
        f"SELECT message_id, subscription_id, due_at {due} AND subscription_id = {number:d}"
        f" AND due_at <= {time_now().sql} ORDER BY due_at LIMIT {limit:d}"
        for number in numbers
    ]
    if not parts:
        return []
    sql = " UNION ALL ".join(f"({part})" if is_mysql() else f"SELECT * FROM ({part})" for part in parts)  # nosec B608 # noqa: S608
    rows = database.execute_sql(f"{sql} ORDER BY due_at LIMIT {limit:d}").fetchall()
    return [(bytes(message), int(number)) for message, number, _ in rows]


def _age(moment: datetime) -> float:
    return max(0.0, round(time.time() - moment.timestamp(), 3))


_PLAIN = (Message.id, Message.client_id, Message.topic, Message.created_at)
