"""What operators set for running processes: queues that rest, numbers in place of settings.

The tables decide, so that neither an emptied Redis nor a restart resumes anything. Each process looks once a second and
acts on what it found last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from messagebroker.db import models
from messagebroker.db.models import PRIORITIES
from messagebroker.db.writing import kept_connection
from messagebroker.ops.queues import QUEUES

LOOK_SECONDS = 1.0
"""Between two looks at the tables."""

QueueControl: Any = models.QueueControl  # the stubs of peewee know no columns
WorkerSetting: Any = models.WorkerSetting


@dataclass(frozen=True, kw_only=True)
class _Found:
    paused: frozenset[str] = frozenset()
    numbers: Mapping[str, int] = field(default_factory=dict)


class _Steering:
    """Replaced as a whole, so that readers need no lock."""

    found = _Found()


def refresh() -> None:
    """Looks at the tables, on this thread's connection.

    Raises:
        Unavailable: the database does not answer; what was found before stays.
    """
    with kept_connection():
        queues = frozenset(row[0] for row in QueueControl.select(QueueControl.queue).tuples())
        numbers = dict(WorkerSetting.select(WorkerSetting.name, WorkerSetting.value).tuples())
    _Steering.found = _Found(paused=queues, numbers=numbers)


def hold() -> None:
    """All queues rest until `refresh` says which: for a process that starts while the database is away."""
    _Steering.found = _Found(paused=frozenset(QUEUES))


def forget() -> None:
    """Back to the beginning, where nothing rests."""
    _Steering.found = _Found()


def paused() -> frozenset[str]:
    """Queues of which nothing new is to be begun. From memory: for hot paths."""
    return _Steering.found.paused


def running() -> list[int]:
    """The priorities whose queues are not paused, the most urgent first. From memory."""
    resting = paused()
    return [priority for priority, queue in enumerate(PRIORITIES) if queue not in resting]


def number(name: str, default: int) -> int:
    """A number that operators set, or `default`, which is the process' own setting. From memory."""
    return _Steering.found.numbers.get(name, default)
