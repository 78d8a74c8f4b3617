"""Breakers for people: which there are, and closing one by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis as redis_py

from messagebroker.db.connection import connected
from messagebroker.db.models import Subscription
from messagebroker.errors import NotFound
from messagebroker.ops import audit, breaker_events
from messagebroker.ops.audit import Actor
from messagebroker.ops.breaker_state import CLOSED, HALF_OPEN, OPEN, Entry
from messagebroker.ops.breaker_store import BreakerStore
from messagebroker.ops.redis_client import unavailable

_LAST = 253_402_300_799  # the last second that a date can have


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The breaker of a subscription, and what its subscription has counted."""

    subscription_id: int
    name: str
    channel: str
    state: str
    since: datetime | None  # in this state; None: from the beginning
    failures: int  # attempts in a row
    failing_since: datetime | None
    next_try: datetime | None  # None: at any time, or Redis does not say
    disabled: bool


def page(redis: redis_py.Redis, *, limit: int, after: int | None = None, states: Sequence[str] = ()) -> list[Shown]:
    """Up to `limit` of the subscriptions, by number, from above `after` on; with a breaker in one of `states` when asked.

    Raises:
        Unavailable: the database does not answer. Without Redis nobody knows the next tries.
    """
    query = Subscription.select().where(Subscription.removed_at.is_null()).order_by(Subscription.id).limit(limit)
    if after is not None:
        query = query.where(Subscription.id > after)
    if states:
        query = query.where(Subscription.breaker.in_(list(states)))
    with connected():
        rows = list(query)
    known = _entries(redis, [row.id for row in rows if row.breaker != CLOSED])
    return [_shown(row, known.get(row.id)) for row in rows]


def reset(redis: redis_py.Redis, subscription_id: int, actor: Actor) -> Shown:
    """Closes it: workers try again within a second.

    Raises:
        NotFound: there is no such subscription.
        Unavailable: Redis or the database does not answer.
    """
    find(subscription_id)
    try:
        BreakerStore(redis).remove(subscription_id)
    except redis_py.RedisError as error:
        raise unavailable(redis, error) from error
    breaker_events.change(subscription_id, CLOSED, f"reset by {actor.name}")
    audit.record_by(actor, "breaker.reset", "subscription", str(subscription_id))
    return _shown(find(subscription_id), None)


def find(subscription_id: int) -> Subscription:
    """The row.

    Raises:
        NotFound: there is no such subscription.
    """
    with connected():
        found: Any = Subscription.get_or_none((Subscription.id == subscription_id) & Subscription.removed_at.is_null())
    if found is None:
        raise NotFound(f"there is no subscription {subscription_id}; `messagebroker breakers list` shows those there are")
    row: Subscription = found
    return row


def _entries(redis: redis_py.Redis, subscription_ids: list[int]) -> dict[int, Entry]:
    try:
        return BreakerStore(redis).read(subscription_ids)
    except redis_py.RedisError:
        return {}  # the events say enough, and this list is wanted most when something does not work


def _shown(row: Any, entry: Entry | None) -> Shown:
    return Shown(
        subscription_id=row.id,
        name=row.name,
        channel=row.channel,
        state=row.breaker,
        since=row.breaker_at,
        failures=row.failures,
        failing_since=row.failing_since,
        next_try=_moment(entry.until) if entry is not None and entry.state in (OPEN, HALF_OPEN) else None,
        disabled=row.disabled_at is not None,
    )


def _moment(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if 0 < seconds < _LAST else None
