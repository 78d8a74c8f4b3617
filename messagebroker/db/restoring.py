"""What the database must not forget or go on believing when an older state of it is brought back."""

from __future__ import annotations

from typing import Any

from messagebroker.db import models
from messagebroker.db.connection import connected, database

Certificate: Any = models.Certificate  # the stubs of peewee know neither columns nor `insert`
DataKey: Any = models.DataKey
Heartbeat: Any = models.Heartbeat


def revoked_certificates() -> list[dict[str, Any]]:
    """The rows of all revoked certificates, to be handed to `after_restore`."""
    with connected():
        if not Certificate.table_exists():
            return []
        return list(Certificate.select().where(Certificate.revoked_at.is_null(False)).dicts())


def after_restore(revoked: list[dict[str, Any]]) -> None:
    """What was revoked stays revoked; no process of the time of the backup runs any more."""
    with database.atomic():
        for row in revoked:
            Certificate.insert(**row).on_conflict_ignore().execute()
            Certificate.update(revoked_at=row["revoked_at"], revoked_reason=row["revoked_reason"]).where(
                Certificate.serial == row["serial"], Certificate.revoked_at.is_null()
            ).execute()
        Heartbeat.delete().execute()


def master_keys() -> set[bytes]:
    """The ids of all master keys that data keys in the database are sealed with."""
    return {bytes(row.master_key_id) for row in DataKey.select(DataKey.master_key_id).distinct()}
