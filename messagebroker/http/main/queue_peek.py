"""GET /api/v1/queue/{queue}/peek: what comes next, without taking it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

import falcon
import msgspec
import redis as redis_py

from messagebroker.errors import Refused
from messagebroker.http.decoding import answer, read_query
from messagebroker.http.main.callers import Right
from messagebroker.http.main.queue_controls import ONE, QueueName
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import ids, queue_peek
from messagebroker.ops.permissions import Permission
from messagebroker.ops.redis_client import unavailable


class PeekQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How many."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=queue_peek.MOST)] = 20


class PeekView(msgspec.Struct, kw_only=True):
    """`state`: `accepted` is to be stored, `due` to be delivered to the subscription. Bodies are not told."""

    state: str
    message_id: str
    client_id: str
    topic: str
    created_at: datetime
    age_seconds: float
    subscription_id: int | None
    attempts: int


class PeekAnswer(msgspec.Struct, kw_only=True):
    """The next ones, in their order; with several workers some of them go at the same time."""

    queue: str
    items: list[PeekView]


class Peek:
    """For operators who wonder what it is that waits."""

    rights: ClassVar = {"GET": Right(permission=Permission.QUEUES_READ)}
    operations: ClassVar = (
        Operation(
            "GET", ONE + "/peek", "The next messages of a queue", responses={200: PeekAnswer, 404: None, 409: None},
            query=PeekQuery, path_types={"queue": QueueName}, security=TOKEN, tag="queues",
            description="409 `conflict` for the queue `ops`, which holds main's own jobs.",
        ),
    )  # fmt: skip

    def __init__(self, redis: redis_py.Redis) -> None:
        self._redis = redis

    def on_get(self, request: falcon.Request, response: falcon.Response, queue: str) -> None:
        """As they are now."""
        query = read_query(request, PeekQuery)
        try:
            found = queue_peek.peek(self._redis, queue, query.limit)
        except Refused as error:
            raise Problem(409, "conflict", str(error)) from None
        except redis_py.RedisError as error:
            raise unavailable(self._redis, error) from error
        items = [
            PeekView(
                state=one.state,
                message_id=ids.text(one.message_id),
                client_id=one.client,
                topic=one.topic,
                created_at=one.created_at,
                age_seconds=one.age_seconds,
                subscription_id=one.subscription_id,
                attempts=one.attempts,
            )
            for one in found
        ]
        answer(response, PeekAnswer(queue=queue, items=items))
