"""Lists of subscriptions, page by page, each from an index."""

from __future__ import annotations

from typing import Any

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.db.models import User
from messagebroker.errors import Refused
from messagebroker.ops.subscription_access import owns, ranges_of, sees
from messagebroker.ops.subscriptions import Details, details_of

Subscription: Any = models.Subscription


class Unindexed(Refused):
    """These filters together have no index."""


def page(
    *,
    limit: int,
    after: int | None = None,
    channel: str | None = None,
    owner: str | None = None,
    only_of: User | None = None,
) -> list[Details]:
    """Up to `limit` subscriptions in the order in which they were made, after the number `after`.

    Args:
        limit: how many.
        after: a number.
        channel: only those of this channel.
        owner: only those of this address.
        only_of: only those that this person may see, of every channel or of `channel`.

    Raises:
        Unindexed: filters that no index serves together.
    """
    if owner is not None and (channel is not None or only_of is not None):
        raise Unindexed("owner goes with no other filter; give one of owner and channel")
    with connected():
        if only_of is not None:
            return _of_person(only_of, channel, limit=limit, after=after)
        condition = Subscription.owner == owner if owner is not None else None
        condition = Subscription.channel == channel if channel is not None else condition
        rows = _rows(_numbers(condition, limit=limit, after=after))
        return [details_of(row) for row in rows if owner is None or row.owner == owner]


def _of_person(person: User, channel: str | None, *, limit: int, after: int | None) -> list[Details]:
    """A person has few; where they are filtered by channel, page after page is read until there are enough."""
    found: list[Details] = []
    while True:
        numbers = sorted({number for part in ranges_of(person) for number in _numbers(part, limit=limit, after=after)})[:limit]
        for row in _rows(numbers):
            if (channel is None or row.channel == channel) and (owns(person, row) or sees(person, row)):
                found.append(details_of(row))
        if len(found) >= limit or len(numbers) < limit:
            return found[:limit]
        after = numbers[-1]


def _numbers(condition: Any, *, limit: int, after: int | None) -> list[int]:
    """Of one range, in their order: of an index alone."""
    query = Subscription.select(Subscription.id).where(Subscription.removed_at.is_null(), Subscription.id > (after or 0))
    query = query if condition is None else query.where(condition)
    return [row[0] for row in query.order_by(Subscription.id).limit(limit).tuples()]


def _rows(numbers: list[int]) -> list[Any]:
    return list(Subscription.select().where(Subscription.id.in_(numbers)).order_by(Subscription.id)) if numbers else []
