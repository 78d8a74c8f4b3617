"""Emptying a queue: its pending deliveries are cancelled. What is accepted and not stored yet is never dropped."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis

from messagebroker.db.connection import connected
from messagebroker.db.models import Delivery
from messagebroker.db.writing import writing
from messagebroker.errors import Refused
from messagebroker.ops import audit, ids, queues
from messagebroker.ops.audit import Actor
from messagebroker.ops.deliveries.claimed import among
from messagebroker.ops.deliveries.following import follow
from messagebroker.ops.due import database_now, lock_messages
from messagebroker.ops.metrics import STATUS_CHANGES
from messagebroker.ops.queue_peek import of_messages

PIECE = 500
_ERROR_CHARACTERS = 500
SECONDS = 10.0
"""What one call spends at most; who has more to cancel calls again."""


@dataclass(frozen=True, kw_only=True)
class Purge:
    """What a purge finds, or did. What was accepted, or stored, after `before` is left alone."""

    queue: str
    before: datetime
    cancelled: int
    left: int  # deliveries that it would cancel, or has not come to yet
    unstored: int  # messages in Redis: they stay, are stored and delivered


def preview(client: redis.Redis, queue: str, before: datetime | None = None) -> Purge:
    """What a purge would cancel, and what it would leave.

    Raises:
        NotFound: no such queue.
        Refused: it holds no messages.
        Unavailable: the database does not answer.
        redis.RedisError: Redis does not.
    """
    priority = of_messages(queue)
    with connected():
        moment = before or database_now()
        left = Delivery.select().where(_wanted(priority, moment)).count()
    return Purge(queue=queue, before=moment, cancelled=0, left=left, unstored=_unstored(client, queue))


def purge(
    client: redis.Redis, queue: str, *, reason: str, before: datetime | None = None, actor: Actor, seconds: float = SECONDS
) -> Purge:
    """Cancels pending deliveries, piece by piece, until none is left or the time is over.

    Deliveries that are under way are not touched. Statuses of messages follow.

    Raises:
        Refused: there is no reason; otherwise as `preview`.
    """
    if not reason.strip():
        raise Refused("say why the queue is purged: the audit log keeps the reason")
    found = preview(client, queue, before)
    condition = _wanted(of_messages(queue), found.before)
    error = f"purged by {actor.name}: {reason.strip()}"[:_ERROR_CHARACTERS]
    details = {"reason": reason.strip(), "accepted_before": found.before, "deliveries": found.left}
    audit.record_by(actor, "queue.purge", "queue", queue, details)  # before anything is gone
    deadline, cancelled = time.monotonic() + seconds, 0
    while number := _cancel_some(condition, error, actor):
        cancelled += number
        if time.monotonic() > deadline:
            break
    left = max(0, found.left - cancelled) if number else 0
    return Purge(queue=queue, before=found.before, cancelled=cancelled, left=left, unstored=_unstored(client, queue))


def _wanted(priority: int, before: datetime) -> Any:
    """What was accepted and stored by then: it is what the preview has counted.

    Of one index: it ends in the message's id, which begins with the time of acceptance.
    """
    accepted, stored = Delivery.message < ids.ceiling(before), Delivery.created_at <= before
    return (Delivery.status == "pending") & (Delivery.priority == priority) & accepted & stored


def _cancel_some(condition: Any, error: str, actor: Actor) -> int:
    with connected():
        rows: Any = Delivery.select(Delivery.message, Delivery.subscription_id).where(condition).limit(PIECE).tuples()
        pairs = [(bytes(message), number) for message, number in rows]
    if not pairs:
        return 0
    messages = sorted({message for message, _ in pairs})
    with writing():
        lock_messages(messages)
        fields = {"status": "cancelled", "due_at": None, "ended_at": database_now(), "error": error, "asked_by": actor.name}
        number = int(Delivery.update(**fields).where(among(pairs), Delivery.status == "pending").execute())
        statuses = follow(messages)
    for status, moved in statuses.items():
        STATUS_CHANGES.labels(status).inc(moved)
    return number or len(pairs)  # somebody else was faster with all of them: there may be more


def _unstored(client: redis.Redis, queue: str) -> int:
    return next(depth.messages for depth in queues.depths(client) if depth.queue == queue)
