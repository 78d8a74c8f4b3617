"""Ending a subscription: its secrets go at once, what was still to be delivered is cancelled, the history stays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.db.models import OPEN_DELIVERIES, PRIORITIES
from messagebroker.ops import audit, clock
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change
from messagebroker.ops.deliveries.following import follow
from messagebroker.ops.due import lock_messages
from messagebroker.ops.metrics import STATUS_CHANGES
from messagebroker.ops.subscriptions import Check, Subscription, lock

Delivery: Any = models.Delivery

BATCH = 500
AT_ONCE_SECONDS = 5.0
"""What is not cancelled by then, workers cancel when it is due."""


def remove(number: int, actor: Actor, *, check: Check | None = None) -> int:
    """Ends a subscription; how many deliveries were cancelled by now.

    Raises:
        NotFound: there is no such subscription, or not any more.
    """
    with change():
        _, before = lock(number, check)
        now = clock.now()
        gone = {"removed_at": now, "changed_at": now, "secrets": None, "data_key_id": None}
        Subscription.update(**gone).where(Subscription.id == number).execute()
        told = {"name": before.name, "channel": before.channel, "topics": before.topics}
        audit.record_by(actor, "subscription.remove", "subscription", str(number), told)
    return cancel_open(number, seconds=AT_ONCE_SECONDS)


def cancel_open(number: int, *, seconds: float | None = None) -> int:
    """Cancels open deliveries of a subscription, in batches that hold up nobody; their messages' statuses follow.

    Also those that a worker has in hand: what comes of them is not written down any more.

    Args:
        number: of the subscription.
        seconds: about how long to go on; None: to the end.

    Returns:
        How many they were.
    """
    ends, cancelled = None if seconds is None else time.monotonic() + seconds, 0
    with connected():
        while (batch := _open_messages(number)) and (ends is None or time.monotonic() < ends):
            cancelled += _cancel(number, batch)
    return cancelled


def _cancel(number: int, messages: list[bytes]) -> int:
    with change():
        lock_messages(messages)
        now = clock.now()
        still = (Delivery.message << messages) & (Delivery.subscription_id == number) & (Delivery.status << OPEN_DELIVERIES)
        fields = {
            "status": "cancelled",
            "due_at": None,
            "holder": None,
            "ended_at": now,
            "error": "the subscription was removed",
        }
        cancelled = int(Delivery.update(**fields).where(still).execute())
        moved = follow(messages)
    for status, count in moved.items():
        STATUS_CHANGES.labels(status).inc(count)
    return cancelled


def _open_messages(number: int) -> list[bytes]:
    """Up to a batch of them, from the index of what is due."""
    for query in _ranges(number):
        if found := [bytes(row[0]) for row in query.limit(BATCH).tuples()]:
            return found
    return []


def _ranges(number: int) -> Iterator[Any]:
    for status in OPEN_DELIVERIES:
        for priority in range(len(PRIORITIES)):
            yield Delivery.select(Delivery.message).where(
                Delivery.status == status, Delivery.priority == priority, Delivery.subscription_id == number
            )
