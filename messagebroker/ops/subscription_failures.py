"""Failed attempts in a row of each subscription: warnings at 50, 70 and 90 % of what disables it, and disabling it.

The breaker holds a destination back for minutes; this is about destinations that nobody repairs for days.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import peewee as pw
import structlog

from messagebroker.db import inspection
from messagebroker.db.models import Subscription
from messagebroker.db.writing import time_now
from messagebroker.ops import audit, subscription_notices
from messagebroker.ops.metrics import SUBSCRIPTION_WARNINGS, SUBSCRIPTIONS_DISABLED
from messagebroker.settings import Settings

STAGES = (50, 70, 90, 100)
"""Percent; at the last one the subscription is disabled."""

for _why in ("gone", "failures"):  # an alarm about what is new needs a 0 to begin with
    SUBSCRIPTIONS_DISABLED.labels(_why)

_ACTOR = "component:worker"
_MAX_ERROR = 200
_MAX_WHY = 500
_log = structlog.get_logger("messagebroker.subscriptions")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What disables a subscription: so many failed attempts in a row, over so much time."""

    attempts: int = 100
    time: timedelta = timedelta(hours=24)

    def stage(self, failures: int, failing: timedelta) -> int:
        """The last stage that was reached; 0: none. Attempts and time both have to come so far.

        A busy subscription makes a hundred attempts in a minute, which is no reason to disable it, and one that is used twice a
        day makes two in a day.
        """
        percent = min(failures / self.attempts, failing / self.time) * 100
        return max((stage for stage in STAGES if percent >= stage), default=0)


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """Those of one subscription that ended together."""

    ok: int = 0
    failed: int = 0
    error: str | None = None  # of the last one that failed
    gone: bool = False  # the destination said that it will never be back


_limits = Limits()


def setup(settings: Settings) -> None:
    """Every process that ends attempts calls it at its start: SUBSCRIPTION_DISABLE_AFTER and SUBSCRIPTION_DISABLE_HOURS."""
    global _limits  # noqa: PLW0603 - attempts end in many places, none of which knows the settings
    hours = timedelta(hours=settings.subscription_disable_hours)
    _limits = Limits(attempts=settings.subscription_disable_after, time=hours)


def attempted(counted: Mapping[int, Attempts]) -> None:
    """Counts attempts, by subscription, inside the caller's transaction. One success ends a row of failures.

    Successes where nothing had failed write nothing, and lock no row.
    """
    worked = sorted(number for number, one in counted.items() if one.ok and not one.gone)
    if worked:
        _worked(worked)
    for number in sorted(counted.keys() - set(worked)):
        if counted[number].failed:
            _failed(number, counted[number])


def _worked(numbers: list[int]) -> None:
    """Asked first, without a lock: an UPDATE by the primary key waits for who holds a row, also one that it will not change."""
    failing = Subscription.select(Subscription.id).where(Subscription.id.in_(numbers), Subscription.failures > 0)
    if again := [row.id for row in failing]:
        fresh = {"failures": 0, "failing_since": None, "warned": 0}
        Subscription.update(**fresh).where(Subscription.id.in_(again)).execute()


def _failed(number: int, attempts: Attempts) -> None:
    own = (Subscription.id == number) & Subscription.removed_at.is_null()
    since = pw.fn.COALESCE(Subscription.failing_since, time_now())
    row_counts = {"failures": Subscription.failures + attempts.failed, "failing_since": since}
    if not Subscription.update(**row_counts).where(own).execute():
        return
    columns = (
        Subscription.id,
        Subscription.failures,
        Subscription.failing_since,
        Subscription.warned,
        Subscription.disabled_at,
    )
    row: Any = Subscription.select(*columns).where(own).get()
    if row.disabled_at is not None:
        return
    error = " ".join((attempts.error or "unknown").split())[:_MAX_ERROR]
    stage = _limits.stage(row.failures, inspection.clock() - row.failing_since)
    if attempts.gone:
        _disable(row, "gone", f"the destination said that it is gone: {error}")
    elif stage == STAGES[-1]:
        _disable(row, "failures", f"{_told(row)}; the last error: {error}")
    elif stage > row.warned:
        _warn(row, stage, error)


def _warn(row: Any, stage: int, error: str) -> None:
    Subscription.update(warned=stage).where(Subscription.id == row.id).execute()
    details = {"stage": stage, "failures": row.failures, "since": row.failing_since, "error": error}
    audit.record(_ACTOR, "subscription.failing", "subscription", str(row.id), details=details)
    subscription_notices.add(
        row.id,
        "failing",
        f"{_told(row)}; that is {stage} % of what disables it ({_limits.attempts} attempts over {_limits.time}). "
        f"The last error: {error}",
    )
    SUBSCRIPTION_WARNINGS.labels(str(stage)).inc()
    _log.warning("a subscription fails", subscription=row.id, percent=stage, failures=row.failures, error=error)


def _disable(row: Any, kind: str, why: str) -> None:
    changes = {"disabled_at": time_now(), "disabled_why": why[:_MAX_WHY], "warned": STAGES[-1], "changed_at": time_now()}
    Subscription.update(**changes).where(Subscription.id == row.id).execute()
    audit.record(_ACTOR, "subscription.disable", "subscription", str(row.id), details={"why": why, "failures": row.failures})
    subscription_notices.add(row.id, "disabled", f"It gets nothing until it is enabled again: {why}")
    SUBSCRIPTION_WARNINGS.labels(str(STAGES[-1])).inc()
    SUBSCRIPTIONS_DISABLED.labels(kind).inc()
    _log.error("a subscription is disabled", subscription=row.id, why=why)


def _told(row: Any) -> str:
    return f"{row.failures} failed attempts in a row since {row.failing_since:%Y-%m-%d %H:%M} UTC"
