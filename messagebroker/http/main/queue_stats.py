"""GET /api/v1/queue/stats: all queues, in messages."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import falcon
import msgspec
import redis as redis_py

from messagebroker.http.decoding import answer
from messagebroker.http.main.callers import Right
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.ops import queue_stats
from messagebroker.ops.delivery_counts import Counter
from messagebroker.ops.permissions import Permission
from messagebroker.ops.redis_client import unavailable


class QueueView(msgspec.Struct, kw_only=True):
    """One queue as it lies in Redis. A call carries many messages; depth is counted in messages, `running` in calls."""

    queue: str
    messages: int
    calls: int
    running: int
    oldest_seconds: float
    dead_letters: int


class PauseView(msgspec.Struct, kw_only=True):
    """Who paused a queue, and why."""

    paused_at: datetime
    paused_by: str
    reason: str


class QueueStateView(msgspec.Struct, kw_only=True):
    """One queue, in messages; a stored one counts once for each of its deliveries.

    `waiting` could begin now, `delayed` later; `stuck` are running past their lease; `failed` are dead letters.
    `oldest_seconds`: how long the one that waits longest could have begun. Rates are over the last minute. `messages` are
    accepted and not stored yet, in `calls`; `dead_letters` are calls that no program here understands.
    """

    queue: str
    waiting: int
    running: int
    delayed: int
    failed: int
    stuck: int
    oldest_seconds: float
    in_per_second: float
    stored_per_second: float
    delivered_per_second: float
    workers: int
    paused: PauseView | None
    messages: int
    calls: int
    dead_letters: int


class ChannelStateView(msgspec.Struct, kw_only=True):
    """Deliveries of one channel, of all queues together, as `QueueStateView` counts them."""

    channel: str
    waiting: int
    running: int
    delayed: int
    failed: int
    stuck: int
    oldest_seconds: float


class RedisView(msgspec.Struct, kw_only=True):
    """The server beneath. `commands`: since it started; `limit_bytes` 0: it has no limit."""

    operations_per_second: int
    commands: int
    used_bytes: int
    limit_bytes: int
    clients: int


class QueueStatsAnswer(msgspec.Struct, kw_only=True):
    """All queues and channels. `scheduled` messages wait for their time, their deliveries are among the `delayed` ones."""

    queues: list[QueueStateView]
    channels: list[ChannelStateView]
    redis: RedisView
    scheduled: int
    ingest_failures: int


class QueueStats:
    """For operators, and for scripts that wait until everything is drained."""

    rights: ClassVar = {"GET": Right(permission=Permission.QUEUES_READ)}
    operations: ClassVar = (
        Operation(
            "GET",
            "/api/v1/queue/stats",
            "All queues",
            responses={200: QueueStatsAnswer},
            security=TOKEN,
            tag="queues",
            description="What is counted in the database may be a few seconds old.",
        ),
    )

    def __init__(self, redis: redis_py.Redis, counter: Counter) -> None:
        self._redis = redis
        self._counter = counter

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """As they are now."""
        try:
            found = queue_stats.look(self._redis, self._counter.look)
        except redis_py.RedisError as error:
            raise unavailable(self._redis, error) from error
        answer(response, msgspec.convert(found, QueueStatsAnswer, from_attributes=True))
