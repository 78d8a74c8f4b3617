"""Accepted records become rows: each exactly once, whatever is delivered twice."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import peewee as pw

from messagebroker.db.bulk import insert, literals
from messagebroker.db.connection import database, error_number, is_mysql
from messagebroker.db.models import DataKey, Message, MessageAlias
from messagebroker.db.writing import writing
from messagebroker.ops.clock import from_micros, micros
from messagebroker.ops.records import Record, SealedKey

_DUPLICATE_ENTRY = 1062
_NO_REFERENCED_ROW = 1452
_ATTEMPTS = 5
_CHUNK = 500

_COLUMNS = (
    "id", "client_id", "topic", "priority", "status", "created_at", "stored_at", "due_at", "expires_at", "routed", "attempts",
    "size", "sender_hash", "idempotency_key", "correlation_id", "traceparent", "data_key_id", "payload",
)  # fmt: skip

_KEY_SECONDS = 60.0
_known_keys: dict[bytes, float] = {}
"""Data keys that this process wrote lately: writing them with every call would make all workers wait for one row.

That they are still there is asked all the same, which locks nothing: the database may be a restored one by now, or a
replica that had not got them yet, and without its key a message can never be opened.
"""


@dataclass(kw_only=True)
class Stored:
    """What became of the records of one `store`."""

    stored: int = 0
    duplicates: int = 0  # were there already
    aliased: int = 0  # later copies under an idempotency key
    statuses: dict[str, int] = field(default_factory=dict)  # of the stored ones


def store(records: list[Record], keys: Mapping[bytes, SealedKey], *, now: datetime) -> Stored:
    """Writes the records and the data keys that they name, in one transaction.

    Args:
        records: from one or many calls; ids may repeat, and may be stored already.
        keys: at least the data keys that the records name.
        now: decides what is scheduled or expired; the database's time where records have such times.

    Raises:
        Unavailable: the database does not answer; nothing or everything is stored, and repeating it is safe.
        ValueError: a record that cannot be a row. Nothing is stored.
        peewee.DataError, peewee.IntegrityError: the database refuses one of the rows. Nothing is stored.
    """
    moment = micros(now)
    try:
        with writing():
            _write_keys(records, keys, moment)
            statuses = _write_rows(records, moment)
        _remember_keys(records)
        return Stored(stored=len(records), statuses=statuses)
    except pw.IntegrityError as error:
        if not _is_duplicate(error):
            raise
    return _store_what_is_new(records, keys, moment)


def _store_what_is_new(records: list[Record], keys: Mapping[bytes, SealedKey], moment: int) -> Stored:
    """The slow way, after a duplicate: looks first.

    Meanwhile another worker may store the same, or the cleanup remove the message that an alias was to name (its copy
    is a new message then), so it may look again.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with writing():
                news, aliases = _sort_out(records)
                _write_keys(news, keys, moment)
                statuses = _write_rows(news, moment)
                _write_aliases(aliases, moment)
            _remember_keys(news)
            repeated = len(records) - len(news) - len(aliases)
            return Stored(stored=len(news), duplicates=repeated, aliased=len(aliases), statuses=statuses)
        except pw.IntegrityError as error:
            if not (_is_duplicate(error) or _is_gone(error)) or attempt == _ATTEMPTS:
                raise
    raise AssertionError("the loop returns or raises")


def _sort_out(records: list[Record]) -> tuple[list[Record], dict[bytes, bytes]]:
    """Which records are new, and which ids are later copies of which message."""
    ids = [record.id for record in records]
    seen = _present(Message.id, ids) | _present(MessageAlias.id, ids)
    named = [record.idempotency_key for record in records if record.idempotency_key is not None]
    first_of = _messages_by_key(named)
    news: list[Record] = []
    aliases: dict[bytes, bytes] = {}
    for record in records:
        if record.id in seen:
            continue
        seen.add(record.id)
        first = first_of.setdefault(record.idempotency_key, record.id) if record.idempotency_key else record.id
        if first == record.id:
            news.append(record)
        else:
            aliases[record.id] = first
    return news, aliases


def _present(column: pw.Field, values: list[bytes]) -> set[bytes]:
    return {bytes(found) for part in _chunks(values) for (found,) in _rows(column.model.select(column).where(column << part))}


def _messages_by_key(values: list[bytes]) -> dict[bytes | None, bytes]:
    column = Message.idempotency_key
    return {
        bytes(key): bytes(first)
        for part in _chunks(values)
        for key, first in _rows(Message.select(column, Message.id).where(column << part))
    }


def _rows(query: Any) -> list[tuple[Any, ...]]:
    return list(query.tuples())


def _chunks(values: list[bytes]) -> Iterator[list[bytes]]:
    return (values[at : at + _CHUNK] for at in range(0, len(values), _CHUNK))


def _write_rows(records: Iterable[Record], moment: int) -> dict[str, int]:
    """The hot path: a microsecond and a half a row, so it is one loop and calls little."""
    text, once, instant = literals().text, literals().once, literals().moment
    stored_at = instant(moment)
    statuses: dict[str, int] = {}
    shared: dict[tuple[str, str, int], str] = {}
    rows: list[str] = []
    for r in records:
        if r.deliver_at is None and r.expires_at is None:
            status, times = "delivered", "NULL,NULL"
        else:
            status, times = _times(r, moment)
        statuses[status] = statuses.get(status, 0) + 1
        kind = (r.client, r.topic, r.priority)
        begin = shared.get(kind)
        if begin is None:
            begin = shared[kind] = f"{text(r.client)},{text(r.topic)},{r.priority:d}"
        sender, idem = r.sender_hash, r.idempotency_key
        if (
            len(r.id) != 16  # the column would pad a shorter one in silence
            or len(r.data_key_id) != 16
            or (sender is not None and len(sender) != 16)
            or (idem is not None and len(idem) != 20)
        ):
            raise ValueError("ids and the sender's hash have 16 bytes, idempotency keys 20")
        rows.append(
            f"(X'{r.id.hex()}',{begin},'{status}',{instant(r.accepted_at)},{stored_at},{times},0,0,{r.size:d},"
            + ("NULL," if sender is None else f"X'{sender.hex()}',")
            + ("NULL," if idem is None else f"X'{idem.hex()}',")
            + ("NULL" if r.correlation_id is None else once(r.correlation_id))
            + (",NULL" if r.traceparent is None else "," + once(r.traceparent))
            + f",X'{r.data_key_id.hex()}',X'{r.sealed.hex()}')"
        )
    insert(Message, _COLUMNS, rows)
    return statuses


def _times(record: Record, moment: int) -> tuple[str, str]:
    """Status, and the columns due_at and expires_at, of a record that has such times."""
    instant = literals().moment
    expires_at = "NULL" if record.expires_at is None else instant(record.expires_at)
    if record.expires_at is not None and record.expires_at <= moment:
        return "expired", f"NULL,{expires_at}"
    if record.deliver_at is not None and record.deliver_at > moment:
        return "scheduled", f"{instant(record.deliver_at)},{expires_at}"
    return "delivered", f"NULL,{expires_at}"


def _write_aliases(aliases: Mapping[bytes, bytes], moment: int) -> None:
    rows = [{"id": later, "message": first, "created_at": from_micros(moment)} for later, first in aliases.items()]
    if rows:
        MessageAlias.insert_many(rows).execute()


# data keys


def _write_keys(records: Iterable[Record], keys: Mapping[bytes, SealedKey], moment: int) -> None:
    named = {record.data_key_id for record in records}
    missing = named - keys.keys()
    if missing:
        raise ValueError(f"the call lacks the data key {min(missing).hex()} that its records name")
    old = time.monotonic() - _KEY_SECONDS
    there = _keys_there([key_id for key_id in named if _known_keys.get(key_id, old) > old])
    rows = [_key_row(keys[key_id], moment) for key_id in sorted(named - there)]
    if rows:
        target = {} if is_mysql() else {"conflict_target": [DataKey.id]}
        DataKey.insert_many(rows).on_conflict(preserve=[DataKey.last_seen_at], **target).execute()


def _keys_there(known: list[bytes]) -> set[bytes]:
    if not known:
        return set()
    ids = ",".join([f"X'{key_id.hex()}'" for key_id in known])
    found = database.execute_sql(f"SELECT id FROM data_keys WHERE id IN ({ids})")  # nosec B608 # noqa: S608 - hexadecimal
    return {bytes(key_id) for (key_id,) in found.fetchall()}


def _key_row(key: SealedKey, moment: int) -> dict[str, object]:
    return {
        "id": key.id,
        "master_key_id": key.master_key_id,
        "sealed": key.sealed,
        "created_at": from_micros(key.created_at),
        "last_seen_at": from_micros(moment),
    }


def _remember_keys(records: Iterable[Record]) -> None:
    """Only after the commit: a key that was rolled back must be written again."""
    if len(_known_keys) > 10_000:
        _known_keys.clear()
    now = time.monotonic()
    old = now - _KEY_SECONDS
    for key_id in {record.data_key_id for record in records}:
        if _known_keys.get(key_id, old) <= old:
            _known_keys[key_id] = now


def _is_duplicate(error: pw.IntegrityError) -> bool:
    return error_number(error) == _DUPLICATE_ENTRY or "UNIQUE constraint failed" in str(error)


def _is_gone(error: pw.IntegrityError) -> bool:
    return error_number(error) == _NO_REFERENCED_ROW or "FOREIGN KEY constraint failed" in str(error)
