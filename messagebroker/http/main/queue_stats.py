"""GET /api/v1/queue/stats: what waits in Redis, in messages."""

from __future__ import annotations

from typing import ClassVar

import falcon
import msgspec
import redis as redis_py

from messagebroker.http.decoding import answer
from messagebroker.http.main.callers import Right
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.ops import queues
from messagebroker.ops.permissions import Permission
from messagebroker.ops.redis_client import unavailable


class QueueView(msgspec.Struct, kw_only=True):
    """One queue. A call carries many messages; depth is counted in messages."""

    queue: str
    messages: int
    calls: int
    running: int
    oldest_seconds: float
    dead_letters: int


class QueueStatsAnswer(msgspec.Struct, kw_only=True):
    """All queues."""

    queues: list[QueueView]


class QueueStats:
    """For operators, and for scripts that wait until everything is drained."""

    rights: ClassVar = {"GET": Right(permission=Permission.QUEUES_READ)}
    operations: ClassVar = (
        Operation(
            "GET",
            "/api/v1/queue/stats",
            "Depth of the queues",
            responses={200: QueueStatsAnswer},
            security=TOKEN,
            tag="operations",
        ),
    )

    def __init__(self, redis: redis_py.Redis) -> None:
        self._redis = redis

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """As Redis has it now."""
        try:
            depths = queues.depths(self._redis)
        except redis_py.RedisError as error:
            raise unavailable(self._redis, error) from error
        views = [msgspec.convert(depth, QueueView, from_attributes=True) for depth in depths]
        answer(response, QueueStatsAnswer(queues=views))
