"""How a webhook does: what waits for it, what failed, and its last attempts. From indexes, a bit of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.db.models import PRIORITIES
from messagebroker.errors import NotFound
from messagebroker.ops.subscriptions import Details

Delivery: Any = models.Delivery
DeliveryAttempt: Any = models.DeliveryAttempt
BreakerEvent: Any = models.BreakerEvent

CHANNEL = "webhook"
MOST_COUNTED = 10_000
"""Of each kind: who has more reads "at least"."""

FAILURES = ("retry", "failed", "gone")
"""Outcomes of attempts that did not deliver."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try, in short. `started_at` of an attempt that was `delivered`, or was not."""

    started_at: datetime
    duration_ms: int
    code: int | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class State:
    """Numbers stop at MOST_COUNTED. `oldest_due_at`: when the first of what is pending is due. `breaker`: its last change."""

    pending: int
    processing: int
    failed: int
    oldest_due_at: datetime | None
    last_success: Attempt | None
    last_failure: Attempt | None
    breaker: str | None
    breaker_since: datetime | None


def require_webhook(details: Details) -> Details:
    """The same subscription.

    Raises:
        NotFound: it is none of the channel webhook.
    """
    if details.channel != CHANNEL:
        told = f"`messagebroker subscriptions show {details.id}` shows how it does"
        raise NotFound(f"subscription {details.id} is no webhook, but of the channel {details.channel}; {told}")
    return details


def state(number: int) -> State:
    """Of the subscription of this number."""
    with connected():
        event = BreakerEvent.select().where(BreakerEvent.subscription_id == number).order_by(BreakerEvent.id.desc()).first()
        return State(
            pending=_count(number, "pending"),
            processing=_count(number, "processing"),
            failed=_count_failed(number),
            oldest_due_at=_oldest_due(number),
            last_success=_last(number, ("delivered",)),
            last_failure=_last(number, FAILURES),
            breaker=None if event is None else event.state,
            breaker_since=None if event is None else event.created_at,
        )


def _count(number: int, status: str) -> int:
    found = 0
    for priority in range(len(PRIORITIES)):
        rows = Delivery.select(Delivery.message).where(*_group(number, status, priority)).limit(MOST_COUNTED - found)
        found += rows.count() if found < MOST_COUNTED else 0
    return found


def _count_failed(number: int) -> int:
    failed = (Delivery.status == "failed") & (Delivery.subscription_id == number)
    return int(Delivery.select(Delivery.message).where(failed).limit(MOST_COUNTED).count())


def _oldest_due(number: int) -> datetime | None:
    firsts = []
    for priority in range(len(PRIORITIES)):
        query = Delivery.select(Delivery.due_at).where(*_group(number, "pending", priority)).order_by(Delivery.due_at).limit(1)
        firsts += [row.due_at for row in query if row.due_at is not None]
    return min(firsts, default=None)


def _group(number: int, status: str, priority: int) -> tuple[Any, ...]:
    return Delivery.status == status, Delivery.priority == priority, Delivery.subscription_id == number


def _last(number: int, outcomes: tuple[str, ...]) -> Attempt | None:
    rows = []
    for outcome in outcomes:
        mine = (DeliveryAttempt.subscription_id == number) & (DeliveryAttempt.outcome == outcome)
        rows += list(DeliveryAttempt.select().where(mine).order_by(DeliveryAttempt.id.desc()).limit(1))
    if not rows:
        return None
    newest = max(rows, key=lambda row: row.id)
    return Attempt(started_at=newest.started_at, duration_ms=newest.duration_ms, code=newest.code, error=newest.error)
