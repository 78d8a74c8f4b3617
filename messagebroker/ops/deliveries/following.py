"""A message's status follows its deliveries, in the transaction that changes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import peewee as pw

from messagebroker.db.models import FINAL_STATUSES, OPEN_DELIVERIES, Delivery, Message

MOST_ATTEMPTS = 32_767
_ENDS = ("failed", "delivered", "expired", "cancelled")
"""One of the first kind decides; with none of these the message has no deliveries any more."""


def follow(ids: Collection[bytes], attempts: Mapping[bytes, int] | None = None) -> dict[str, int]:
    """Sets the statuses of messages whose rows the caller has locked.

    Args:
        ids: of messages that have, or had, deliveries.
        attempts: how many were made for each of them just now.

    Returns:
        How many messages reached which final status.
    """
    told = attempts or {}
    changes: dict[tuple[str | None, int], list[bytes]] = defaultdict(list)
    found = _statuses(ids)
    for message_id in ids:
        changes[_status(found.get(message_id, frozenset())), told.get(message_id, 0)].append(message_id)
    moved: dict[str, int] = {}
    for (status, tries), group in sorted(changes.items(), key=lambda change: (change[0][0] or "", change[0][1])):
        number = _set(status, tries, sorted(group))
        if status in _ENDS and number:
            moved[str(status)] = moved.get(str(status), 0) + number
    return moved


def follow_reopened(ids: Collection[bytes]) -> dict[str, int]:
    """As `follow`, of messages some of whose deliveries begin again: what is open is looked at when it expires."""
    moved = follow(ids)
    begun = Message.status << ("pending", "processing")  # one that is scheduled is looked at when it begins
    Message.update(due_at=Message.expires_at).where(Message.id << sorted(ids), begun).execute()
    return moved


def _set(status: str | None, tries: int, ids: list[bytes]) -> int:
    fields: dict[str, Any] = {"attempts": _counted(tries)} if tries else {}
    if status == "pending":  # one that has begun, or is to begin later, stays what it is
        Message.update(status=status).where(Message.id << ids, Message.status << FINAL_STATUSES).execute()
    elif status == "processing":  # others of its deliveries have ended, which begins none that is to begin later
        Message.update(status=status).where(Message.id << ids, Message.status != "scheduled").execute()
    elif status is not None:
        fields["status"] = status
    if status in _ENDS:
        fields["due_at"] = None
    return int(Message.update(**fields).where(Message.id << ids).execute()) if fields else 0


def _counted(tries: int) -> Any:
    """No more than the column holds: whoever has a message sent again and again must not keep it from ending."""
    return pw.Case(None, [(Message.attempts > MOST_ATTEMPTS - tries, MOST_ATTEMPTS)], Message.attempts + tries)


def _statuses(ids: Collection[bytes]) -> dict[bytes, frozenset[str]]:
    rows: Any = Delivery.select(Delivery.message, Delivery.status).where(Delivery.message << sorted(ids)).distinct().tuples()
    found: dict[bytes, set[str]] = defaultdict(set)
    for message_id, status in rows:
        found[bytes(message_id)].add(status)
    return {message_id: frozenset(statuses) for message_id, statuses in found.items()}


def _status(deliveries: frozenset[str]) -> str | None:
    """None: it stays as it is."""
    if "processing" in deliveries:
        return "processing"
    if deliveries & frozenset(OPEN_DELIVERIES):
        return "pending" if deliveries == {"pending"} else "processing"
    return next((status for status in _ENDS if status in deliveries), None)
