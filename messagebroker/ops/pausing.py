"""Queues that somebody paused: nothing new of them is begun until somebody resumes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.errors import NotFound
from messagebroker.ops import audit, clock
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change, locked
from messagebroker.ops.queues import QUEUES

LONGEST_REASON = 500

QueueControl: Any = models.QueueControl  # the stubs of peewee know no columns


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A queue that rests."""

    queue: str
    paused_at: datetime
    paused_by: str
    reason: str


def known(queue: str) -> str:
    """The queue's name; raises NotFound for what is none."""
    if queue not in QUEUES:
        raise NotFound(f"there is no queue {queue[:40]!r}; the queues are {', '.join(QUEUES)}")
    return queue


def pauses() -> dict[str, Pause]:
    """By queue: those that rest."""
    with connected():
        rows = list(QueueControl.select())
    return {
        row.queue: Pause(queue=row.queue, paused_at=row.paused_at, paused_by=row.paused_by, reason=row.reason) for row in rows
    }


def pause(queue: str, reason: str, actor: Actor) -> Pause:
    """Workers begin nothing new of it within about a second. Pausing a paused one keeps who did it first.

    Raises:
        NotFound: no such queue.
    """
    with change():
        before = _row(known(queue))
        if before is None:
            row = {"queue": queue, "paused_at": clock.now(), "paused_by": actor.name, "reason": reason[:LONGEST_REASON]}
            QueueControl.insert(**row).on_conflict_ignore().execute()  # somebody else may be as quick
            audit.record_by(actor, "queue.pause", "queue", queue, {"reason": reason})
        return pauses()[queue]


def resume(queue: str, actor: Actor) -> bool:
    """Workers go on with it within about a second. False: it was not paused.

    Raises:
        NotFound: no such queue.
    """
    with change():
        before = _row(known(queue))
        if before is None:
            return False
        before.delete_instance()
        details = {"paused_at": before.paused_at, "paused_by": before.paused_by, "reason": before.reason}
        audit.record_by(actor, "queue.resume", "queue", queue, details)
        return True


def _row(queue: str) -> Any:
    return locked(QueueControl.select().where(QueueControl.queue == queue)).first()
