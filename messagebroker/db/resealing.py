"""Statements that move data keys from one master key to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee as pw

from messagebroker.db import models
from messagebroker.db.writing import kept_connection, writing

DataKey: Any = models.DataKey  # the stubs of peewee know no columns


def count_by_master_key() -> dict[bytes, int]:
    """Data keys under each master key; the caller is connected."""
    query = DataKey.select(DataKey.master_key_id, pw.fn.COUNT(DataKey.id)).group_by(DataKey.master_key_id)
    return {bytes(master): int(number) for master, number in query.tuples()}


def next_keys(master: bytes, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
    """Ids and sealed keys under a master key, in the order of ids."""
    query = DataKey.select(DataKey.id, DataKey.sealed).where(DataKey.master_key_id == master, DataKey.id > after)
    with kept_connection():
        return [(bytes(key_id), bytes(sealed)) for key_id, sealed in query.order_by(DataKey.id).limit(limit).tuples()]


def replace(rows: Sequence[tuple[bytes, bytes]], old: bytes, new: bytes) -> int:
    """Gives each (id, sealed) to the new master key if it is under the old one still; how many were."""
    changed = 0
    with writing():
        for key_id, sealed in rows:
            mine = (DataKey.id == key_id) & (DataKey.master_key_id == old)
            changed += int(DataKey.update(master_key_id=new, sealed=sealed).where(mine).execute())
    return changed
