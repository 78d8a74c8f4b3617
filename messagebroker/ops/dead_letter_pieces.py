"""Moves of dead letters go on piece by piece: each is one short transaction of one worker, and none is lost by a restart."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from messagebroker.db import models
from messagebroker.db.writing import kept_connection, time_now, writing
from messagebroker.ops import metrics
from messagebroker.ops.dead_letter_moves import UNDO_TIME
from messagebroker.ops.dead_letter_steps import Step, step
from messagebroker.ops.due import database_now

DeadLetterMove: Any = models.DeadLetterMove

PIECE = 500
"""Dead letters of one transaction."""

LEASE = timedelta(seconds=30)
"""Of a worker on a move: when it is killed, another one goes on so much later."""

_SECONDS = 0.2
"""Of one call: messages that become due wait for the thread that makes it."""

_BURST = timedelta(seconds=5)
"""What a rate makes up for when no worker came by for longer."""

_AT_WORK = ("running", "done", "undoing", "removing")
_COUNTED = {"running": "moved", "undoing": "undone"}


class _OvertakenError(Exception):
    """Somebody has undone this move, or its lease is over."""


def advance(seconds: float = _SECONDS) -> int:
    """Goes on with every move whose time has come; how many dead letters were moved, put back or removed.

    Args:
        seconds: after which it begins no further piece; one it does in any case.

    Raises:
        Unavailable: the database does not answer; what was begun goes on later.
    """
    with kept_connection():
        is_due = DeadLetterMove.state.in_(_AT_WORK) & (DeadLetterMove.next_at <= time_now())
        waiting = list(DeadLetterMove.select().where(is_due).order_by(DeadLetterMove.id))
    end = time.monotonic() + seconds
    done = 0
    for move in waiting:
        done += _Turn(move, end).run()
        if time.monotonic() >= end:
            break
    return done


class _Turn:
    """What one worker does on one move before it lets go of it."""

    def __init__(self, move: Any, end: float) -> None:
        self._move = move
        self._end = end  # on the monotonic clock
        self._now = database_now()
        self._lease = self._now + LEASE
        self._is_limited = move.state == "running" and move.rate is not None
        self._base: datetime = max(move.next_at, self._now - _BURST)  # since when the rate was not used
        self._done = 0

    def run(self) -> int:
        """As much as the rate and the time allow; of several workers one does it."""
        with writing():
            if not self._update(self._move.next_at, {"next_at": self._lease}):
                return 0
        with suppress(_OvertakenError):  # whoever it was goes on with it
            while self._room() > 0:
                if self._piece():
                    return self._done
                if time.monotonic() >= self._end:
                    break
            with writing():
                self._update(self._lease, {"next_at": self._next()})
        return self._done

    def _room(self) -> int:
        """How many the next piece may have."""
        if not self._is_limited:
            return PIECE
        allowed = int(self._move.rate * ((self._now - self._base).total_seconds() + 1))
        return min(PIECE, max(1, allowed) - self._done)

    def _next(self) -> datetime:
        if not self._is_limited:
            return self._now
        return self._base + timedelta(seconds=self._done / self._move.rate)

    def _piece(self) -> bool:
        """One transaction; whether it was the last."""
        limit, state = self._room(), self._move.state
        with writing():
            found = step(self._move, limit, self._now)
            fields = {"position": found.position} if found.position is not None else self._ended()
            if state in _COUNTED:
                fields[_COUNTED[state]] = getattr(DeadLetterMove, _COUNTED[state]) + found.number
            if not self._update(self._lease, fields):
                raise _OvertakenError
        self._count(found)
        return found.position is None

    def _count(self, found: Step) -> None:
        self._done += found.number
        self._move.position = found.position
        for status, number in found.statuses.items():
            metrics.STATUS_CHANGES.labels(status).inc(number)

    def _ended(self) -> dict[str, Any]:
        """What comes after the present state."""
        if self._move.state == "running":
            until = database_now() + UNDO_TIME
            return {"state": "done", "position": None, "next_at": until, "undo_until": until}
        if self._move.state == "done" and self._move.kind == "purge":
            return {"state": "removing", "position": None, "next_at": self._now, "undo_until": None}
        state = "undone" if self._move.state == "undoing" else "final"
        return {"state": state, "position": None, "next_at": None, "undo_until": None}

    def _update(self, next_at: datetime, fields: dict[str, Any]) -> int:
        """Changes the move, while it is still in the state and has the time with which this turn knows it."""
        move = DeadLetterMove
        mine = (move.id == self._move.id) & (move.state == self._move.state) & (move.next_at == next_at)
        return int(DeadLetterMove.update(**fields).where(mine).execute())
