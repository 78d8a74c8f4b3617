"""What main's /metrics says about others: the queues, and the roles that have no port or may all be down."""

from __future__ import annotations

import redis as redis_py

from messagebroker.actors.worker_checks import observe_queues
from messagebroker.db.connection import connected
from messagebroker.errors import BrokerError
from messagebroker.ops import breaker_events, certificate_warnings, heartbeats, queue_stats, sessions
from messagebroker.ops.delivery_counts import Counter
from messagebroker.ops.metrics import (
    CERTIFICATE_EXPIRES,
    CHANNEL_STATE,
    LEADERS,
    PROCESSES,
    QUEUE_PAUSED,
    QUEUE_RATE,
    QUEUE_READY,
    QUEUE_STATE,
    QUEUE_STATE_OLDEST,
    REDIS_OPERATIONS,
    SESSIONS_ACTIVE,
)
from messagebroker.roles import ROLES
from messagebroker.settings import WITH_DATABASE, Settings

_STATES = ("waiting", "running", "delayed", "failed", "stuck")


def refresh(redis: redis_py.Redis, settings: Settings, counter: Counter) -> None:
    """Brings the gauges up to date; who cannot be counted is left out, not shown as it was."""
    observe_queues(redis)
    _refresh_queues(redis, counter)
    PROCESSES.clear()
    LEADERS.clear()
    CERTIFICATE_EXPIRES.clear()
    try:
        found = heartbeats.alive()
        SESSIONS_ACTIVE.set(sessions.count_active())
        breaker_events.count_open()
        with connected():
            certificate_warnings.show(settings)
    except BrokerError:
        return  # main's readiness says that the database is away
    for role in (role.name for role in ROLES if role.name in WITH_DATABASE):
        PROCESSES.labels(role).set(found.get(role, heartbeats.Alive()).processes)
    LEADERS.labels("scheduler").set(found.get("scheduler", heartbeats.Alive()).leaders)


def _refresh_queues(redis: redis_py.Redis, counter: Counter) -> None:
    """What is counted in the database too; a scrape counts nothing that was counted a moment ago."""
    for gauge in (QUEUE_STATE, CHANNEL_STATE, QUEUE_STATE_OLDEST, QUEUE_READY, QUEUE_RATE, QUEUE_PAUSED):
        gauge.clear()
    try:
        counted = counter.look()
        found = queue_stats.look(redis, lambda: counted)
    except (BrokerError, redis_py.RedisError):
        return  # readiness says who is away
    for queue in found.queues:
        for state in _STATES:
            QUEUE_STATE.labels(queue.queue, state).set(getattr(queue, state))
        QUEUE_STATE_OLDEST.labels(queue.queue).set(queue.oldest_seconds)
        waits_for_workers = queue.queue in counted.deliveries and queue.paused is None
        QUEUE_READY.labels(queue.queue).set(counted.deliveries[queue.queue].ready_seconds if waits_for_workers else 0.0)
        for direction in ("in", "stored", "delivered"):
            QUEUE_RATE.labels(queue.queue, direction).set(getattr(queue, f"{direction}_per_second"))
        QUEUE_PAUSED.labels(queue.queue).set(queue.paused is not None)
    for channel in found.channels:
        for state in _STATES:
            CHANNEL_STATE.labels(channel.channel, state).set(getattr(channel, state))
    REDIS_OPERATIONS.set(found.redis.operations_per_second)
