"""What breakers did, in the database: a row for each change of state, once whoever saw it, and one alert for each outage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from messagebroker.db import inspection
from messagebroker.db.connection import connected
from messagebroker.db.models import BreakerEvent, Subscription
from messagebroker.db.writing import kept_connection, time_now, writing
from messagebroker.ops import audit, subscription_notices
from messagebroker.ops.breaker_state import CLOSED, HALF_OPEN, OPEN
from messagebroker.ops.metrics import BREAKER_CHANGES, BREAKERS_OPEN

for _state in (CLOSED, HALF_OPEN, OPEN):  # a rate needs a 0 to begin with
    BREAKER_CHANGES.labels(_state)

ALERT = "breaker.open"
_SETTLED = timedelta(seconds=5)
"""A change that is younger may not be known to everybody yet."""

_MAX_WHY = 500
_BATCH = 500
_last_count = 0
_log = structlog.get_logger("messagebroker.breakers")


@dataclass(frozen=True, kw_only=True)
class Written:
    """A breaker as its last event has it."""

    subscription_id: int
    state: str
    at: datetime
    is_settled: bool


def change(subscription_id: int, state: str, why: str, *, settled: bool = False) -> bool:
    """Writes that a breaker came to a state. False when that is written already, or nobody has this subscription any more.

    `settled`: also False when the last change is a few seconds old at most.

    Raises:
        Unavailable: the database does not answer.
    """
    own = (Subscription.id == subscription_id) & Subscription.removed_at.is_null()
    with writing():
        if settled:
            before = inspection.clock() - _SETTLED
            own &= Subscription.breaker_at.is_null() | (Subscription.breaker_at < before)
        values = {"breaker": state, "breaker_at": time_now()}
        begins = state != CLOSED and bool(Subscription.update(**values).where(own & (Subscription.breaker == CLOSED)).execute())
        if not begins and not Subscription.update(**values).where(own & (Subscription.breaker != state)).execute():
            return False
        row = {"subscription_id": subscription_id, "created_at": time_now(), "state": state, "why": why[:_MAX_WHY]}
        BreakerEvent.insert(**row).execute()
        if begins:
            audit.record("component:worker", ALERT, "subscription", str(subscription_id), details={"why": why})
            subscription_notices.add(subscription_id, ALERT, f"Its destination fails, and gets nothing for a while: {why}")
    BREAKER_CHANGES.labels(state).inc()
    if begins:
        _log.error("a destination fails: its breaker is open", subscription=subscription_id, why=why)
    elif state == CLOSED:
        _log.info("a destination works again: its breaker is closed", subscription=subscription_id, why=why)
    return True


def not_closed() -> list[Written]:
    """Every breaker that is open or half-open as far as events say.

    Raises:
        Unavailable: the database does not answer.
    """
    table = Subscription
    columns = (table.id, table.breaker, table.breaker_at)
    with kept_connection():
        before = inspection.clock() - _SETTLED
        found = table.select(*columns).where(table.breaker.in_((OPEN, HALF_OPEN)), table.removed_at.is_null())
        return [
            Written(subscription_id=row.id, state=row.breaker, at=row.breaker_at, is_settled=row.breaker_at < before)
            for row in found
        ]


def removed(subscription_ids: list[int]) -> list[int]:
    """Those of them that were removed.

    Raises:
        Unavailable: the database does not answer.
    """
    if not subscription_ids:
        return []
    asked = Subscription.id.in_(subscription_ids) & Subscription.removed_at.is_null(False)
    with kept_connection():
        return [row.id for row in Subscription.select(Subscription.id).where(asked)]


def count_open() -> int:
    """Breakers that are open or half-open, of subscriptions that are neither removed nor disabled.

    Raises:
        Unavailable: the database does not answer.
    """
    global _last_count  # noqa: PLW0603 - what liveness says must not ask the database
    table = Subscription
    in_force = table.removed_at.is_null() & table.disabled_at.is_null()
    with connected():
        _last_count = int(table.select().where(table.breaker.in_((OPEN, HALF_OPEN)), in_force).count())
    BREAKERS_OPEN.set(_last_count)
    return _last_count


def warning() -> str | None:
    """What `/health` says of the last count."""
    if not _last_count:
        return None
    return f"{_last_count} destination{' fails' if _last_count == 1 else 's fail'}: `messagebroker breakers list` shows them"


def forget_old(before: datetime) -> int:
    """Removes events from before a time; how many."""
    removed = 0
    while True:
        old = BreakerEvent.select(BreakerEvent.id).where(BreakerEvent.created_at < before).order_by(BreakerEvent.created_at)
        with connected():
            found = [row.id for row in old.limit(_BATCH)]
            if not found:
                return removed
            removed += int(BreakerEvent.delete().where(BreakerEvent.id.in_(found)).execute())


def page(limit: int, *, before: int | None = None, subscription_id: int | None = None) -> list[BreakerEvent]:
    """Up to `limit` events, newest first, from below the number `before` on; of one subscription when asked."""
    query = BreakerEvent.select().order_by(BreakerEvent.id.desc()).limit(limit)
    if before is not None:
        query = query.where(BreakerEvent.id < before)
    if subscription_id is not None:
        query = query.where(BreakerEvent.subscription_id == subscription_id)
    with connected():
        return list(query)
