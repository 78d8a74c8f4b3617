"""How much each worker process does at once: numbers that operators set in place of the settings, while workers run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from messagebroker.db import models
from messagebroker.db.connection import connected, is_mysql
from messagebroker.errors import Refused
from messagebroker.ops import audit, clock
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change, locked

THREADS, DELIVERIES = "worker_threads", "deliveries_at_once"
MOST = {THREADS: 64, DELIVERIES: 5000}
"""Of each process; the least is 1."""

WorkerSetting: Any = models.WorkerSetting  # the stubs of peewee know no columns


@dataclass(frozen=True, kw_only=True)
class Override:
    """A number that is in force in place of the setting of its name."""

    name: str
    value: int
    changed_by: str
    changed_at: datetime


def overrides() -> dict[str, Override]:
    """By name: those that are set; the others are as each worker's settings say."""
    with connected():
        rows = list(WorkerSetting.select().order_by(WorkerSetting.name))
    return {
        row.name: Override(name=row.name, value=row.value, changed_by=row.changed_by, changed_at=row.changed_at) for row in rows
    }


def scale(numbers: Mapping[str, int | None], actor: Actor) -> dict[str, Override]:
    """Sets numbers by their names, None returning to the setting; what is in force then. Workers follow within seconds.

    Raises:
        Refused: a name that is not steered like this, or a number out of its range.
    """
    for name, value in numbers.items():
        _check(name, value)
    with change():
        before = {row.name: row.value for row in locked(WorkerSetting.select())}
        changes = {name: value for name, value in numbers.items() if before.get(name) != value}
        for name, value in changes.items():
            _store(name, value, actor)
        if changes:
            was = {name: before.get(name) for name in changes}
            audit.record_by(actor, "workers.scale", "workers", "all", {"before": was, "after": changes})
        return overrides()


def _check(name: str, value: int | None) -> None:
    if name not in MOST:
        raise Refused(f"{name} is no number that workers take over; those are {', '.join(MOST)}")
    if value is not None and not 1 <= value <= MOST[name]:
        raise Refused(f"{name} is from 1 to {MOST[name]}, or null for what the settings say; it was {value}")


def _store(name: str, value: int | None, actor: Actor) -> None:
    if value is None:
        WorkerSetting.delete().where(WorkerSetting.name == name).execute()
        return
    target = {} if is_mysql() else {"conflict_target": [WorkerSetting.name]}
    row = {"name": name, "value": value, "changed_by": actor.name, "changed_at": clock.now()}
    preserved = [WorkerSetting.value, WorkerSetting.changed_by, WorkerSetting.changed_at]
    WorkerSetting.insert(**row).on_conflict(preserve=preserved, **target).execute()
