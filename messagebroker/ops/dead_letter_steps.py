"""What one piece of a move does to its dead letters, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import peewee as pw

from messagebroker.db import models
from messagebroker.ops.changes import locked
from messagebroker.ops.dead_letter_moves import active, takable
from messagebroker.ops.dead_letter_selection import Position, after, from_json, pairs, read_position
from messagebroker.ops.deliveries.claimed import Pair, among
from messagebroker.ops.deliveries.following import follow_reopened
from messagebroker.ops.due import expired, lock_messages

DeadLetterMoved: Any = models.DeadLetterMoved
Delivery: Any = models.Delivery


@dataclass
class Step:
    """What was done: to how many, how far it has come (None: to the end), and which statuses messages reached by it."""

    number: int = 0
    position: str | None = None
    statuses: dict[str, int] = field(default_factory=dict)


def step(move: Any, limit: int, now: datetime) -> Step:
    """The next piece of a move in its present state, of up to `limit` dead letters."""
    if move.state == "running":
        return _move(move, limit, now)
    if move.state == "undoing":
        return _put_back(move, limit, now)
    return _remove(move, limit) if move.state == "removing" else Step()


def _move(move: Any, limit: int, now: datetime) -> Step:
    position = None if move.position is None else read_position(move.position)
    found = after(from_json(move.selection), position, limit)
    chosen = _still_failed(move, pairs(found))
    made = Step(len(chosen), _end_of(found, limit))
    if chosen:
        _remember(move, chosen, now)
        fields = {"status": "cancelled"} if move.kind == "purge" else _afresh(now)
        Delivery.update(**fields, move_id=move.id).where(among(chosen)).execute()
        made.statuses = _follow(chosen)
    return made


def _still_failed(move: Any, found: Sequence[Pair]) -> list[Pair]:
    """Those that were dead letters when the move was asked for, and still are. What failed since was not meant: it would be
    retried for ever. Their messages are locked first, as everywhere."""
    if not found:
        return []
    lock_messages({message for message, _ in found})
    meant = (Delivery.ended_at <= move.created_at) | Delivery.ended_at.is_null()
    still = _pairs_of(among(found), Delivery.status == "failed", meant, ~pw.fn.EXISTS(_history(move)))
    if move.kind == "purge":
        return still
    reachable, over = active({number for _, number in still}), expired({message for message, _ in still})
    return [pair for pair in still if pair[1] in reachable and pair[0] not in over]


def _history(move: Any) -> Any:
    """Of a delivery, whether this move had it: times alone do not say so after the database's clock was set back."""
    moved = DeadLetterMoved
    same = (moved.message == Delivery.message) & (moved.subscription_id == Delivery.subscription_id)
    return moved.select(pw.Value(1)).where(moved.move == move.id, same)


def _pairs_of(*conditions: Any) -> list[Pair]:
    """Locked: a worker that claims one of them waits, though it locks no message that has begun already."""
    rows = locked(Delivery.select(Delivery.message, Delivery.subscription_id).where(*conditions)).tuples()
    return [(bytes(message), number) for message, number in rows]


def _afresh(now: datetime) -> dict[str, Any]:
    """With the whole schedule before it. The last error stays for who looks, until the next attempt."""
    return {"status": "pending", "due_at": now, "attempts": 0, "crashes": 0, "holder": None, "ended_at": None}


def _remember(move: Any, chosen: Sequence[Pair], now: datetime) -> None:
    moved, own = DeadLetterMoved, (Delivery.message, Delivery.subscription_id)
    rows = Delivery.select(
        pw.Value(move.id), *own, pw.Value(now, converter=moved.moved_at.db_value), Delivery.attempts, Delivery.ended_at
    )
    columns = [moved.move, moved.message, moved.subscription_id, moved.moved_at, moved.attempts, moved.ended_at]
    moved.insert_from(rows.where(among(chosen)), columns).execute()


def _put_back(move: Any, limit: int, now: datetime) -> Step:
    found = _marked(move, limit)
    chosen = _still_marked(move, pairs(found))
    made = Step(len(chosen), _end_of(found, limit))
    if chosen:
        fields = {"status": "failed", "due_at": None, "move_id": None, "attempts": _before("attempts", move)}
        Delivery.update(**fields, ended_at=_before("ended_at", move)).where(among(chosen)).execute()
        DeadLetterMoved.update(undone_at=now).where(DeadLetterMoved.move == move.id, among(chosen)).execute()
        made.statuses = _follow(chosen)
    return made


def _before(column: str, move: Any) -> pw.SQL:
    """What a delivery had before the move. The names are the program's own."""
    return pw.SQL(
        f"(SELECT m.{column} FROM dead_letters_moved m WHERE m.move_id = {move.id:d}"  # nosec B608 # noqa: S608
        " AND m.message_id = deliveries.message_id AND m.subscription_id = deliveries.subscription_id)"
    )


def _remove(move: Any, limit: int) -> Step:
    found = _marked(move, limit)
    chosen = _still_marked(move, pairs(found))
    if chosen:
        Delivery.delete().where(among(chosen)).execute()
    return Step(len(chosen), _end_of(found, limit))


def _marked(move: Any, limit: int) -> list[Position]:
    """The next ones that an undo or the final removal is for, in the order of messages."""
    message, number = DeadLetterMoved.message, DeadLetterMoved.subscription_id
    query = takable(move).order_by(message, number).limit(limit)
    if move.position is not None:
        last = read_position(move.position)
        behind = (message > last.message_id) | (number > last.subscription_id)
        query = query.where(message >= last.message_id, behind)
    return [Position(row[1], None, bytes(row[0])) for row in query.tuples()]


def _still_marked(move: Any, found: Sequence[Pair]) -> list[Pair]:
    """Nobody else touches them from now on."""
    if not found:
        return []
    lock_messages({message for message, _ in found})
    status = "cancelled" if move.kind == "purge" else "pending"
    untried = () if move.kind == "purge" else (Delivery.attempts == 0,)
    return _pairs_of(among(found), Delivery.status == status, Delivery.move_id == move.id, *untried)


def _follow(chosen: Sequence[Pair]) -> dict[str, int]:
    return follow_reopened({message for message, _ in chosen})


def _end_of(found: Sequence[Position], limit: int) -> str | None:
    return found[-1].text() if len(found) == limit else None
