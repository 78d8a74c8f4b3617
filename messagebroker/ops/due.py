"""Rows whose time has come, by the database's clock: scheduled messages, expired leases, what got stuck."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from messagebroker.db.connection import database, is_mysql
from messagebroker.db.models import Message
from messagebroker.db.writing import writing

LIMIT = 500
"""Rows of one claim."""

STUCK_AFTER = timedelta(seconds=60)
"""A pending message that nothing took up for so long is processed again."""


def database_now() -> datetime:
    """The database's time, on this thread's connection."""
    with writing():
        return _now()


def _now() -> datetime:
    if is_mysql():
        found: datetime = database.execute_sql("SELECT UTC_TIMESTAMP(6)").fetchone()[0]
        return found.replace(tzinfo=UTC)
    text: str = database.execute_sql("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')").fetchone()[0]
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)


def release_due() -> dict[str, int]:
    """Moves what is due by now, at most LIMIT rows of each kind.

    Returns:
        How many rows reached which status; empty when nothing was due.
    """
    with writing():
        now = _now()
        due = (
            Message.select(Message.id, Message.status, Message.expires_at)
            .where((Message.status << ("scheduled", "processing")) & (Message.due_at <= now))
            .order_by(Message.due_at)
            .limit(LIMIT)
        )
        moves: dict[tuple[str, str], list[bytes]] = {}
        for message_id, status, expires_at in _rows(due):
            moves.setdefault((status, _next(status, expires_at, now)), []).append(bytes(message_id))
        return _move(moves)


def release_stuck() -> dict[str, int]:
    """Processes pending messages again that were left behind. Nothing subscribes yet, so they are delivered."""
    with writing():
        now = _now()
        stuck = Message.select(Message.id, Message.expires_at).where(
            (Message.status == "pending") & (Message.stored_at < now - STUCK_AFTER)
        )
        moves: dict[tuple[str, str], list[bytes]] = {}
        for message_id, expires_at in _rows(stuck.limit(LIMIT)):
            moves.setdefault(("pending", _next("pending", expires_at, now)), []).append(bytes(message_id))
        return _move(moves)


def _rows(query: Any) -> list[tuple[Any, ...]]:
    return list(query.tuples())


def _next(status: str, expires_at: datetime | None, now: datetime) -> str:
    if expires_at is not None and expires_at <= now:
        return "expired"
    return "pending" if status == "processing" else "delivered"


def _move(moves: dict[tuple[str, str], list[bytes]]) -> dict[str, int]:
    """Each row once, whoever else tries: only the one that still finds the old status moves it."""
    moved: dict[str, int] = {}
    for (old, new), ids in moves.items():
        number = Message.update(status=new, due_at=None).where((Message.id << sorted(ids)) & (Message.status == old)).execute()
        if number:
            moved[new] = moved.get(new, 0) + int(number)
    return moved
