"""When periodic jobs are due. A row for each job decides: whoever moves it to the next time sends the job, once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from messagebroker.db import inspection, models
from messagebroker.db.writing import kept_connection, writing

PeriodicJob: Any = models.PeriodicJob  # the stubs of peewee know no columns

Next = Callable[[datetime], datetime]
"""The first time after the given one at which a job is due."""


def send_if_due(name: str, following: Next, send: Callable[[datetime], None]) -> bool:
    """Sends a job whose time has come; one that was missed, however often, is sent once.

    Args:
        name: of the job.
        following: its schedule.
        send: gets the time it was due. It runs while the row is locked and before the commit: when it fails, the job
            stays due; should the process die between it and the commit, it is called again with the same time and
            must do nothing then.
    """
    with kept_connection():
        job = PeriodicJob.get_or_none(PeriodicJob.name == name)
        now = inspection.clock()
    next_at = following(now)
    if job is None:
        _enter(name, next_at)
        return False
    if job.due_at > now:
        if job.due_at != next_at:  # the schedule was changed
            _move(name, job.due_at, due_at=next_at)
        return False
    with writing():
        if not _move(name, job.due_at, due_at=next_at, last_sent_at=now):
            return False
        send(job.due_at)
    return True


def _enter(name: str, due_at: datetime) -> None:
    with writing():
        PeriodicJob.insert(name=name, due_at=due_at).on_conflict_ignore().execute()


def _move(name: str, was_due_at: datetime, **changes: datetime) -> bool:
    with writing():
        unmoved = (PeriodicJob.name == name) & (PeriodicJob.due_at == was_due_at)
        return bool(PeriodicJob.update(**changes).where(unmoved).execute())
