"""What a worker needs, as checks for its readiness, and what it says about the queues."""

from __future__ import annotations

import peewee as pw
import redis
import structlog

from messagebroker.db.connection import connected
from messagebroker.db.models import Message
from messagebroker.errors import BrokerError
from messagebroker.ops import metrics
from messagebroker.ops.queues import depths

_log = structlog.get_logger("messagebroker.worker")


def database_answers() -> str | None:
    """None, or why not."""
    try:
        with connected():
            Message.select(Message.id).limit(1).execute()
    except (BrokerError, pw.PeeweeException) as error:
        return str(error)
    return None


def observe_queues(client: redis.Redis) -> None:
    """Sets the queues' gauges; they keep their last value while Redis does not answer."""
    try:
        for depth in depths(client):
            metrics.QUEUE_MESSAGES.labels(depth.queue).set(depth.messages)
            metrics.QUEUE_OLDEST.labels(depth.queue).set(depth.oldest_seconds)
    except redis.RedisError as error:
        _log.warning("the queues cannot be counted", error=str(error))
