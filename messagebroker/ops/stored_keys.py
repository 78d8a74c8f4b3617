"""The data keys of messages become rows, before the messages that need them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from messagebroker.db.connection import database, is_mysql
from messagebroker.db.models import DataKey
from messagebroker.ops.clock import from_micros
from messagebroker.ops.records import Record, SealedKey

_SECONDS = 60.0
_known: dict[bytes, float] = {}
"""Data keys that this process wrote lately: writing them with every call would make all workers wait for one row.

That they are still there is asked all the same, which locks nothing: the database may be a restored one by now, or a
replica that had not got them yet, and without its key a message can never be opened.
"""


def write(records: Iterable[Record], keys: Mapping[bytes, SealedKey], moment: int) -> None:
    """Writes the data keys that the records name, inside the caller's transaction; `remember` them after it.

    Raises:
        ValueError: a record names a key that is not among them.
    """
    named = {record.data_key_id for record in records}
    missing = named - keys.keys()
    if missing:
        raise ValueError(f"the call lacks the data key {min(missing).hex()} that its records name")
    old = time.monotonic() - _SECONDS
    there = _there([key_id for key_id in named if _known.get(key_id, old) > old])
    rows = [_row(keys[key_id], moment) for key_id in sorted(named - there)]
    if rows:
        target = {} if is_mysql() else {"conflict_target": [DataKey.id]}
        DataKey.insert_many(rows).on_conflict(preserve=[DataKey.last_seen_at], **target).execute()


def _there(known: list[bytes]) -> set[bytes]:
    if not known:
        return set()
    ids = ",".join([f"X'{key_id.hex()}'" for key_id in known])
    found = database.execute_sql(f"SELECT id FROM data_keys WHERE id IN ({ids})")  # nosec B608 # noqa: S608 - hexadecimal
    return {bytes(key_id) for (key_id,) in found.fetchall()}


def _row(key: SealedKey, moment: int) -> dict[str, object]:
    return {
        "id": key.id,
        "master_key_id": key.master_key_id,
        "sealed": key.sealed,
        "created_at": from_micros(key.created_at),
        "last_seen_at": from_micros(moment),
    }


def remember(records: Iterable[Record]) -> None:
    """Only after the commit: a key that was rolled back must be written again."""
    if len(_known) > 10_000:
        _known.clear()
    now = time.monotonic()
    old = now - _SECONDS
    for key_id in {record.data_key_id for record in records}:
        if _known.get(key_id, old) <= old:
            _known[key_id] = now
