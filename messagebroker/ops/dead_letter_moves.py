"""Retrying and purging dead letters: counted first, done piece by piece by workers, and undone on second thoughts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.db.models import Subscription
from messagebroker.errors import Conflict, NotFound, Refused
from messagebroker.ops import audit
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change, locked
from messagebroker.ops.dead_letter_selection import (
    Selection,
    as_json,
    count_by_subscription,
    count_expired,
    document,
    from_json,
    refuse_vague,
)
from messagebroker.ops.dead_letters import state_of
from messagebroker.ops.due import database_now

DeadLetterMove: Any = models.DeadLetterMove
DeadLetterMoved: Any = models.DeadLetterMoved
Delivery: Any = models.Delivery

DEFAULT_RATE, MOST_RATE = 100, 10_000
UNDO_TIME = timedelta(minutes=10)
_NONE = "no dead letter is like this; nothing was changed"


class NothingSelected(Conflict):
    """There is no such dead letter, or none that this could be done to."""


class CountChanged(Conflict):
    """There are more than the person has confirmed."""


class UndoOver(Conflict):
    """It is too late, or there is nothing left to put back."""


class Preview(msgspec.Struct, kw_only=True):
    """What a selection is now. `not_retryable`: of `count`, those whose subscription is disabled or removed, or whose
    message has expired."""

    count: int
    not_retryable: int
    subscriptions: int


class MoveView(msgspec.Struct, kw_only=True):
    """A retry or a purge. `undo_until`: null while it runs (undo is possible then) and when it can be no more."""

    id: int
    kind: Literal["retry", "purge"]
    selection: Selection
    reason: str
    created_by: str
    created_at: datetime
    rate: int | None
    total: int
    moved: int
    undone: int
    state: str
    undo_until: datetime | None


def preview(selection: Selection) -> Preview:
    """How many it would be; raises Refused for a selection that will not do."""
    refuse_vague(selection)
    with connected():
        return _preview(selection)


def _preview(selection: Selection) -> Preview:
    counts = count_by_subscription(selection)
    reachable = active(set(counts))
    unreachable = sum(count for number, count in counts.items() if number not in reachable)
    return Preview(
        count=sum(counts.values()),
        not_retryable=unreachable + count_expired(selection, reachable),
        subscriptions=len(counts),
    )


def active(numbers: set[int]) -> set[int]:
    """Of these subscriptions those that would try what is retried. For callers with a connection."""
    rows: Any = Subscription.select().where(Subscription.id << sorted(numbers)) if numbers else ()
    return {row.id for row in rows if state_of(row) == "active"}


def retry(selection: Selection, actor: Actor, *, rate: int = DEFAULT_RATE, reason: str = "") -> MoveView:
    """Has them tried again with a fresh schedule, `rate` a second. Their messages keep their ids and times.

    Raises:
        Refused: the selection or the rate will not do.
        NothingSelected: there is none that can be retried; the sentence says why.
    """
    refuse_vague(selection)
    if not 1 <= rate <= MOST_RATE:
        raise Refused(f"a rate of {rate} a second: it is between 1 and {MOST_RATE:,}")
    with change():
        found = _preview(selection)
        total = found.count - found.not_retryable
        if not total:
            raise NothingSelected(_why_none(found))
        return _begun("retry", selection, actor, total=total, rate=rate, reason=reason)


def _why_none(found: Preview) -> str:
    if not found.count:
        return _NONE
    return (
        f"all {found.count:,} have expired, or are for subscriptions that are disabled or removed; enable those first, or purge"
    )


def purge(selection: Selection, actor: Actor, *, confirm: int, reason: str) -> MoveView:
    """Removes them: marked now, for good after the time for an undo.

    Args:
        selection: which.
        actor: who wants it.
        confirm: how many the person has seen that they are; fewer by now is fine.
        reason: for those who ask later.

    Raises:
        Refused: the selection will not do, or there is no reason.
        NothingSelected: there is none.
        CountChanged: there are more than was confirmed.
    """
    refuse_vague(selection)
    if not reason.strip():
        raise Refused("say why: what is purged is gone")
    with change():
        count = sum(count_by_subscription(selection).values())
        if not count:
            raise NothingSelected(_NONE)
        if count > confirm:
            raise CountChanged(f"{confirm:,} were confirmed and there are {count:,} now; nothing was changed, look again")
        return _begun("purge", selection, actor, total=count, rate=None, reason=reason)


def _begun(kind: str, selection: Selection, actor: Actor, *, total: int, rate: int | None, reason: str) -> MoveView:
    now = database_now()
    row = DeadLetterMove.create(
        kind=kind, selection=as_json(selection), reason=reason.strip()[:500], created_by=actor.name, created_at=now, rate=rate,
        total=total, state="running", next_at=now,
    )  # fmt: skip
    details = {"selection": document(selection), "total": total, "rate": rate, "reason": reason.strip()[:500]}
    told = {name: value for name, value in details.items() if value not in (None, "")}
    audit.record_by(actor, f"dead_letters.{kind}", "dead_letters", str(row.id), told)
    return _view(row)


def find(number: int) -> MoveView:
    """One of them; raises NotFound."""
    with connected():
        return _view(_row(number))


def page(limit: int, before: int | None = None) -> list[MoveView]:
    """Up to `limit` of them, the last one first; those before the number `before`."""
    query = DeadLetterMove.select().order_by(DeadLetterMove.id.desc()).limit(limit)
    with connected():
        return [_view(row) for row in (query if before is None else query.where(DeadLetterMove.id < before))]


class Undoing(msgspec.Struct, kw_only=True):
    """`count`: dead letters that are put back. `not_moved`: those that it had not come to. `kept`: tried again, or
    expired, by now."""

    id: int
    count: int
    not_moved: int
    kept: int


def undo(number: int, actor: Actor) -> Undoing:
    """Stops it, and has put back what can be: all that was purged; of a retry what was not tried yet.

    Raises:
        NotFound: there is no such move.
        UndoOver: its time is over, it was undone already, or all of it was tried.
    """
    with change():
        row = _row(number, lock=True)
        now = database_now()
        if row.state in ("undoing", "undone"):
            raise UndoOver(f"move {number} was undone already; {row.undone:,} were put back")
        if row.state != "running" and (row.state != "done" or row.undo_until is None or row.undo_until <= now):
            raise UndoOver(f"move {number} can be undone no more; that was possible until ten minutes after its end")
        count = int(takable(row).count())
        not_moved = max(0, row.total - row.moved) if row.state == "running" else 0
        if not count and not not_moved:
            raise UndoOver(
                f"all {row.moved:,} of move {number} were tried again or changed otherwise by now; nothing to put back"
            )
        fields = {"state": "undoing", "position": None, "next_at": now, "undo_until": None}
        DeadLetterMove.update(**fields).where(DeadLetterMove.id == number).execute()
        found = Undoing(id=number, count=count, not_moved=not_moved, kept=max(0, row.moved - count))
        told = {"kind": row.kind, "count": found.count, "not_moved": found.not_moved, "kept": found.kept}
        audit.record_by(actor, "dead_letters.undo", "dead_letters", str(number), told)
    return found


def takable(row: Any) -> Any:
    """Deliveries that an undo of this move puts back: marked by it, and in the state in which it left them."""
    same = (Delivery.message == DeadLetterMoved.message) & (Delivery.subscription_id == DeadLetterMoved.subscription_id)
    untried = (Delivery.status == "pending") & (Delivery.attempts == 0)
    left = (Delivery.status == "cancelled") if row.kind == "purge" else untried
    query = DeadLetterMoved.select(DeadLetterMoved.message, DeadLetterMoved.subscription_id).join(Delivery, on=same)
    return query.where(DeadLetterMoved.move == row.id, Delivery.move_id == row.id, left)


def _row(number: int, *, lock: bool = False) -> Any:
    query = DeadLetterMove.select().where(DeadLetterMove.id == number)
    row = (locked(query) if lock else query).first()
    if row is None:
        raise NotFound(f"there is no move {number}; `messagebroker dead-letters moves` lists them")
    return row


def _view(row: Any) -> MoveView:
    names = ("id", "kind", "reason", "created_by", "created_at", "rate", "total", "moved", "undone", "state", "undo_until")
    return MoveView(selection=from_json(row.selection), **{name: getattr(row, name) for name in names})
