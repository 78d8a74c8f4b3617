"""Messages whose time has come, by the database's clock: scheduled ones begin, those past their time expire."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import peewee as pw

from messagebroker.db import inspection
from messagebroker.db.connection import database, is_mysql
from messagebroker.db.models import OPEN_DELIVERIES, OPEN_STATUSES, Delivery, Message
from messagebroker.db.writing import kept_connection, time_now, writing
from messagebroker.ops.deliveries.following import follow

LIMIT = 500
"""Rows of one claim."""

_OPEN = ",".join(f"'{status}'" for status in OPEN_STATUSES)

STUCK_AFTER = timedelta(seconds=60)
"""A message that has been pending for so long is compared with its deliveries."""


def database_now() -> datetime:
    """The database's time, on this thread's connection."""
    with kept_connection():
        return inspection.clock().astimezone(UTC)


def release_due(must_route: Collection[str] = ()) -> dict[str, int]:
    """Moves what is due by now, at most LIMIT of those that begin and of those that are over.

    Args:
        must_route: topics on which a message that nobody subscribed to is a failed one.

    Returns:
        How many messages reached which status; empty when nothing was due.
    """
    over, begin = _over_and_to_begin()
    if not over and not begin:
        return {}
    is_due = (Message.status << OPEN_STATUSES) & (Message.due_at <= time_now())
    with writing():
        lock_messages({*over, *begin})
        moved = _expire(_still(over, is_due & (Message.expires_at <= time_now())))
        for status, number in _begin(_still(begin, is_due & (Message.status == "scheduled")), must_route).items():
            moved[status] = moved.get(status, 0) + number
    return moved


def release_stuck(after: bytes = b"") -> tuple[dict[str, int], bytes]:
    """Puts messages right that say they are pending while none of their deliveries is open. Looks at LIMIT messages.

    Args:
        after: where the last look ended; a long backlog is walked through piece by piece.

    Returns:
        How many messages reached which status, and where this look ended.
    """
    is_stuck = (Message.status == "pending") & (Message.stored_at < database_now() - STUCK_AFTER)
    with kept_connection():
        query: Any = Message.select(Message.id).where(is_stuck, Message.due_at.is_null(), Message.id > after)
        seen = [bytes(row[0]) for row in query.order_by(Message.id).limit(LIMIT).tuples()]
        open_ones: Any = Delivery.select(Delivery.message).where(Delivery.message << seen, Delivery.status << OPEN_DELIVERIES)
        found = sorted(set(seen) - {bytes(row[0]) for row in open_ones.tuples()}) if seen else []
    position = seen[-1] if len(seen) == LIMIT else b""
    return (put_right(found) if found else {}), position


def put_right(ids: Collection[bytes], statuses: Collection[str] = ("pending",)) -> dict[str, int]:
    """Messages that are in one of the statuses get the one that their deliveries say; how many reached which."""
    with writing():
        lock_messages(ids)
        return _end(_still(sorted(ids), Message.status << statuses), "delivered")


def lock_messages(ids: Collection[bytes]) -> set[bytes]:
    """Before their deliveries, in the order of ids, by everybody: so nobody waits in a circle, and of two deliveries of a
    message that end together the later one sees the other's end. Those that are still there."""
    query: Any = Message.select(Message.id).where(Message.id << sorted(ids)).order_by(Message.id).tuples()
    return {bytes(row[0]) for row in (query.for_update() if is_mysql() else query)}


def expired(ids: Collection[bytes]) -> set[bytes]:
    """Those of them whose time has passed. For callers with a connection."""
    over = Message.expires_at <= time_now()
    rows: Any = Message.select(Message.id).where(Message.id << sorted(ids), over).tuples() if ids else ()
    return {bytes(row[0]) for row in rows}


def _over_and_to_begin() -> tuple[list[bytes], list[bytes]]:
    """Those past their time and those whose time has come, LIMIT of each.

    One look without a transaction, which is all that happens on an idle system, and happens all day: so it is text, and
    nothing that has to be built.
    """
    now = time_now().sql
    conditions = (f"status IN ({_OPEN}) AND expires_at <= {now}", "status = 'scheduled'")  # the program's own words
    looks = [
        f"SELECT {number:d}, id FROM messages WHERE {condition} AND due_at <= {now} ORDER BY due_at LIMIT {LIMIT:d}"  # nosec B608 # noqa: S608
        for number, condition in enumerate(conditions)
    ]
    sql = " UNION ALL ".join(f"({look})" if is_mysql() else f"SELECT * FROM ({look})" for look in looks)  # nosec B608 # noqa: S608
    with kept_connection():
        found: list[list[bytes]] = [[], []]
        for number, message_id in database.execute_sql(sql).fetchall():
            found[number].append(bytes(message_id))
    return found[0], found[1]


def _still(ids: list[bytes], condition: pw.Expression) -> list[bytes]:
    """Those of which it is still so, now that their rows are locked: others look for the same."""
    found: Any = Message.select(Message.id).where((Message.id << ids) & condition).tuples() if ids else ()
    return [bytes(row[0]) for row in found]


def _expire(ids: list[bytes]) -> dict[str, int]:
    """What waits is given up. What is under way comes to its end, which then decides."""
    if not ids:
        return {}
    waiting = (Delivery.message << ids) & (Delivery.status == "pending")
    Delivery.update(status="expired", due_at=None, ended_at=database_now()).where(waiting).execute()
    Message.update(due_at=None).where(Message.id << ids).execute()
    return _end(ids, "expired")


def _begin(ids: list[bytes], must_route: Collection[str]) -> dict[str, int]:
    if not ids:
        return {}
    moved: dict[str, int] = {}
    unrouted = Message.routed == 0
    fails = Message.topic << (list(must_route) or [""])
    for status, condition in (("failed", unrouted & fails), ("delivered", unrouted & ~fails), ("pending", Message.routed > 0)):
        due_at = Message.expires_at if status == "pending" else None
        number = int(Message.update(status=status, due_at=due_at).where((Message.id << ids) & condition).execute())
        if number:
            moved[status] = number
    return moved


def _end(ids: list[bytes], without_deliveries: str) -> dict[str, int]:
    """Their deliveries decide; messages that have none get the given status."""
    if not ids:
        return {}
    with_some: Any = Delivery.select(Delivery.message).where(Delivery.message << ids).distinct().tuples()
    routed = {bytes(row[0]) for row in with_some}
    moved = follow(routed)
    bare = [message_id for message_id in ids if message_id not in routed]
    if bare and (number := int(Message.update(status=without_deliveries, due_at=None).where(Message.id << bare).execute())):
        moved[without_deliveries] = moved.get(without_deliveries, 0) + number
    return moved
