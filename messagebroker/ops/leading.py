"""Which of several schedulers leads: the one that holds a lease on its heartbeat row, by the database's time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from messagebroker.db import inspection, models
from messagebroker.db.connection import is_mysql
from messagebroker.db.writing import writing

LEASE = timedelta(seconds=15)

Heartbeat: Any = models.Heartbeat  # the stubs of peewee know no columns


def lead(role: str, instance: str) -> bool:
    """Takes or renews the lease; False while another instance holds it, or when ours has no row yet.

    The transaction locks every row of the role, so that two cannot both find the lease free.
    """
    with writing():
        rows = Heartbeat.select().where(Heartbeat.role == role)
        found = list(rows.for_update() if is_mysql() else rows)
        now = inspection.clock()
        if any(row.instance != instance and row.leading_until and row.leading_until > now for row in found):
            return False
        mine = Heartbeat.instance == instance
        return bool(Heartbeat.update(leading_until=now + LEASE).where(mine).execute())
