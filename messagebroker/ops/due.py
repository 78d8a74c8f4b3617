"""Rows whose time has come, by the database's clock: scheduled messages, expired leases, what got stuck."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import peewee as pw

from messagebroker.db import inspection
from messagebroker.db.models import Message
from messagebroker.db.writing import kept_connection, time_now, writing

LIMIT = 500
"""Rows of one claim."""

STUCK_AFTER = timedelta(seconds=60)
"""A pending message that nothing took up for so long is processed again."""

Moves = dict[tuple[str, str], list[bytes]]
"""Old and new status -> ids."""


def database_now() -> datetime:
    """The database's time, on this thread's connection."""
    with kept_connection():
        return inspection.clock().astimezone(UTC)


def release_due() -> dict[str, int]:
    """Moves what is due by now, at most LIMIT rows.

    Returns:
        How many rows reached which status; empty when nothing was due.
    """
    is_due = (Message.status << ("scheduled", "processing")) & (Message.due_at <= time_now())
    return _release(is_due, Message.due_at)


def release_stuck() -> dict[str, int]:
    """Processes pending messages again that were left behind. Nothing subscribes yet, so they are delivered."""
    is_stuck = (Message.status == "pending") & (Message.stored_at < database_now() - STUCK_AFTER)
    return _release(is_stuck, Message.id)


def _release(condition: pw.Expression, order: pw.Field) -> dict[str, int]:
    """Looks without a transaction, which is all that happens on an idle system; then moves what was found."""
    is_over = pw.Case(None, [(Message.expires_at <= time_now(), 1)], 0)
    with kept_connection():
        found: Any = Message.select(Message.id, Message.status, is_over).where(condition).order_by(order).limit(LIMIT)
        moves: Moves = {}
        for message_id, status, over in list(found.tuples()):
            moves.setdefault((status, _next(status, bool(over))), []).append(bytes(message_id))
    if not moves:
        return {}
    with writing():
        return _move(moves, condition)


def _next(status: str, is_over: bool) -> str:
    if is_over:
        return "expired"
    return "pending" if status == "processing" else "delivered"


def _move(moves: Moves, condition: pw.Expression) -> dict[str, int]:
    """Each row once, whoever else tries: only the one that still finds it in its old status, and still due, moves it.

    The status alone would not do: another poller may have moved it on and a worker taken it up again, with a new lease.
    """
    moved: dict[str, int] = {}
    for (old, new), ids in sorted(moves.items()):
        still_old = (Message.id << sorted(ids)) & (Message.status == old) & condition
        number = int(Message.update(status=new, due_at=None).where(still_old).execute())
        if number:
            moved[new] = moved.get(new, 0) + number
    return moved
