"""All queues at one moment, in messages: what waits in Redis to be stored, and what waits in the database to be delivered.

A message that is stored counts once for each of its deliveries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from messagebroker.ops import delivery_counts, heartbeats, pausing, queue_rates, queues
from messagebroker.ops.delivery_counts import Counted, DeliveryCount
from messagebroker.ops.heartbeats import Alive
from messagebroker.ops.pausing import Pause
from messagebroker.ops.queue_rates import Rates
from messagebroker.ops.queues import QueueDepth

_NONE = DeliveryCount()


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """One queue."""

    queue: str
    waiting: int  # could begin now
    running: int
    delayed: int  # for later: scheduled, or between two attempts
    failed: int  # dead letters
    stuck: int  # running, past their lease
    oldest_seconds: float  # how long the one that waits longest could have begun
    in_per_second: float  # accepted; this and the next two over the last minute
    stored_per_second: float
    delivered_per_second: float
    workers: int  # processes that take from it
    paused: Pause | None
    messages: int  # in Redis: accepted, not stored yet
    calls: int  # actor calls that carry them
    dead_letters: int  # calls that no program here understands


@dataclass(frozen=True, kw_only=True)
class ChannelState:
    """Deliveries of one channel, of all queues together."""

    channel: str
    waiting: int
    running: int
    delayed: int
    failed: int
    stuck: int
    oldest_seconds: float


@dataclass(frozen=True, kw_only=True)
class RedisState:
    """The server beneath."""

    operations_per_second: int
    commands: int  # since it started
    used_bytes: int
    limit_bytes: int  # 0: none is set
    clients: int


@dataclass(frozen=True, kw_only=True)
class QueueStats:
    """Everything."""

    queues: list[QueueState]
    channels: list[ChannelState]
    redis: RedisState
    scheduled: int  # messages before their time; their deliveries are among the delayed
    ingest_failures: int  # accepted messages that could not be stored


def look(client: redis.Redis, counted: Callable[[], Counted] = delivery_counts.count) -> QueueStats:
    """As it is now, but for what `counted` remembers.

    Raises:
        Unavailable: the database does not answer.
        redis.RedisError: Redis does not.
    """
    depths = queues.depths(client)
    rates = queue_rates.rates(client)
    found, pauses, alive = counted(), pausing.pauses(), heartbeats.alive()
    return QueueStats(
        queues=[_state(depth, found, rates, pauses, alive) for depth in depths],
        channels=[_channel(name, count) for name, count in found.channels.items()],
        redis=_redis_state(client),
        scheduled=found.scheduled,
        ingest_failures=found.ingest_failures,
    )


def _state(
    depth: QueueDepth, found: Counted, rates: Mapping[str, Rates], pauses: Mapping[str, Pause], alive: Mapping[str, Alive]
) -> QueueState:
    name = depth.queue
    deliveries = found.deliveries.get(name, _NONE)
    rate = rates.get(name, Rates())
    return QueueState(
        queue=name,
        waiting=max(0, depth.messages - depth.running_messages) + deliveries.waiting,
        running=depth.running_messages + deliveries.running,
        delayed=deliveries.delayed,
        failed=deliveries.failed,
        stuck=depth.stuck_messages + deliveries.stuck,
        oldest_seconds=max(depth.oldest_seconds, deliveries.overdue_seconds),
        in_per_second=rate.into,
        stored_per_second=rate.stored,
        delivered_per_second=rate.delivered,
        workers=alive.get("main" if name == "ops" else "worker", Alive()).processes,
        paused=pauses.get(name),
        messages=depth.messages,
        calls=depth.calls,
        dead_letters=depth.dead_letters,
    )


def _channel(name: str, count: DeliveryCount) -> ChannelState:
    return ChannelState(
        channel=name,
        waiting=count.waiting,
        running=count.running,
        delayed=count.delayed,
        failed=count.failed,
        stuck=count.stuck,
        oldest_seconds=count.overdue_seconds,
    )


def _redis_state(client: redis.Redis) -> RedisState:
    pipe = client.pipeline(transaction=False)
    for section in ("stats", "memory", "clients"):
        pipe.info(section)
    info: dict[str, Any] = {}
    for part in pipe.execute():
        info.update(part)
    return RedisState(
        operations_per_second=int(info.get("instantaneous_ops_per_sec", 0)),
        commands=int(info.get("total_commands_processed", 0)),
        used_bytes=int(info.get("used_memory", 0)),
        limit_bytes=int(info.get("maxmemory", 0)),
        clients=int(info.get("connected_clients", 0)),
    )
