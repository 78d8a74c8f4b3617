"""What was done to a message's queue and to its subscriptions while it was under way: actions that have no row of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from messagebroker.db.models import PRIORITIES
from messagebroker.ops import audit
from messagebroker.ops.audit import Entry

CONCERN_ALL = frozenset(
    {
        "queue.pause",
        "queue.resume",
        "subscription.change",
        "subscription.disable",
        "subscription.enable",
        "subscription.remove",
        "breaker.reset",
    }
)
"""These concern whatever is under way."""

REPLAY = "subscription.replay"
CONCERN_SOME = frozenset({"queue.purge", "queue.reset-stuck", "webhook.recover", REPLAY})
"""These chose some deliveries, and left the name of who asked in each of them."""

_LATER = timedelta(seconds=10)
"""After the end of a delivery: its cause may be written down after it, and by another clock; before its begin a replay may."""

Action = tuple[int | None, Entry]
"""And the subscription, where it is about one."""


def of(deliveries: Collection[Any], attempts: Collection[Any], *, most: int) -> tuple[list[Action], bool]:
    """The actions, and whether these are all; each read is one range of the index over objects.

    Args:
        deliveries: of one message.
        attempts: of the same.
        most: rows of the audit log that are read of each object, the latest.
    """
    asked = {(one.subscription_id, one.asked_by) for part in (deliveries, attempts) for one in part if one.asked_by}
    names = {name for _, name in asked}
    found: list[Action] = []
    is_whole = True
    for object_type, name, concerned in _objects(deliveries):
        number = concerned[0].subscription_id if object_type == "subscription" else None
        begin = _begin(concerned)
        filters = audit.Filters(object_type=object_type, object_id=name, since=begin - _LATER, until=_end(concerned))
        rows = audit.page(limit=most, filters=filters)
        is_whole = is_whole and len(rows) < most
        for row in rows:
            if row.created_at < begin and row.action != REPLAY:
                continue
            chose_it = row.actor in names if number is None else (number, row.actor) in asked
            if row.action in CONCERN_ALL or (row.action in CONCERN_SOME and chose_it):
                found.append((number, row))
    return found, is_whole


def _objects(deliveries: Collection[Any]) -> Iterator[tuple[str, str, list[Any]]]:
    """As the audit log names them, each with the deliveries that it is about."""
    every = list(deliveries)
    for one in every:
        yield "subscription", str(one.subscription_id), [one]
    if every:
        yield "queue", PRIORITIES[every[0].priority], every
        yield "queue", "all", every


def _begin(deliveries: Iterable[Any]) -> datetime:
    begins: list[datetime] = [one.created_at for one in deliveries]
    return min(begins)


def _end(deliveries: Iterable[Any]) -> datetime | None:
    ends = [one.ended_at for one in deliveries]
    known = [end for end in ends if end is not None]
    return max(known) + _LATER if len(known) == len(ends) else None
