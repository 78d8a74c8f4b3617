"""Worker processes, as they tell of themselves with every heartbeat."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from messagebroker.db import inspection, models
from messagebroker.db.connection import connected
from messagebroker.db.models import FRESH

Heartbeat: Any = models.Heartbeat  # the stubs of peewee know no columns


@dataclass(frozen=True, kw_only=True)
class WorkerProcess:
    """One process. What an older one does not tell, or none has told yet, is None."""

    instance: str
    host: str
    pid: int
    version: str | None
    started_at: datetime
    seen_at: datetime
    runs: bool  # seen lately; one that was killed stays in the list for a day
    threads: int | None  # that take calls off the queues, the one of `critical` among them
    calls: int | None  # in their hands
    deliveries: int | None  # under way
    deliveries_at_once: int | None  # that may be
    stored_per_second: float | None  # since the heartbeat before
    delivered_per_second: float | None


def page(*, limit: int, after: str = "") -> list[WorkerProcess]:
    """Up to `limit` processes in the order of their names, those after `after`.

    Raises:
        Unavailable: the database does not answer.
    """
    with connected():
        now = inspection.clock()
        query = Heartbeat.select().where(Heartbeat.role == "worker", Heartbeat.instance > after)
        return [_process(row, now) for row in query.order_by(Heartbeat.instance).limit(limit)]


def _process(row: Any, now: datetime) -> WorkerProcess:
    told: Mapping[str, Any] = json.loads(row.details) if row.details else {}
    return WorkerProcess(
        instance=row.instance,
        host=row.host,
        pid=row.pid,
        version=told.get("version"),
        started_at=row.started_at,
        seen_at=row.seen_at,
        runs=row.seen_at > now - FRESH,
        threads=told.get("threads"),
        calls=told.get("calls"),
        deliveries=told.get("deliveries"),
        deliveries_at_once=told.get("deliveries_at_once"),
        stored_per_second=told.get("stored_per_second"),
        delivered_per_second=told.get("delivered_per_second"),
    )
