"""Accepted records become rows: each exactly once, whatever is delivered twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import peewee as pw

from messagebroker.db.bulk import insert, literals
from messagebroker.db.connection import error_number
from messagebroker.db.models import Message, MessageAlias
from messagebroker.db.writing import writing
from messagebroker.ops import stored_keys
from messagebroker.ops.clock import from_micros, micros
from messagebroker.ops.deliveries.routing import Router, Routes
from messagebroker.ops.records import Record, SealedKey

_DUPLICATE_ENTRY = 1062
_NO_REFERENCED_ROW = 1452
_ATTEMPTS = 5
_CHUNK = 500

_COLUMNS = (
    "id", "client_id", "topic", "priority", "certificate", "status", "created_at", "stored_at", "due_at", "expires_at",
    "deliver_at", "routed", "attempts", "size", "sender_hash", "idempotency_key", "correlation_id", "traceparent",
    "data_key_id", "payload",
)  # fmt: skip


@dataclass(kw_only=True)
class Stored:
    """What became of the records of one `store`."""

    stored: int = 0
    duplicates: int = 0  # were there already
    aliased: int = 0  # later copies under an idempotency key
    statuses: dict[str, int] = field(default_factory=dict)  # of the stored ones


def store(records: list[Record], keys: Mapping[bytes, SealedKey], *, now: datetime, router: Router | None = None) -> Stored:
    """Writes the records, the data keys that they name and their deliveries, in one transaction.

    Args:
        records: from one or many calls; ids may repeat, and may be stored already.
        keys: at least the data keys that the records name.
        now: the database's time; decides what is scheduled, expired and due.
        router: knows who subscribed; None: nobody did.

    Raises:
        Unavailable: the database does not answer; nothing or everything is stored, and repeating it is safe.
        ValueError: a record that cannot be a row. Nothing is stored.
        peewee.DataError, peewee.IntegrityError: the database refuses one of the rows. Nothing is stored.
    """
    moment = micros(now)
    if router is not None:
        router.refresh()
    try:
        with _routing(router, keys) as routing, writing():
            stored_keys.write(records, keys, moment)
            statuses = _write_rows(records, moment, routing)
        stored_keys.remember(records)
        return Stored(stored=len(records), statuses=statuses)
    except pw.IntegrityError as error:
        if not _is_duplicate(error):
            raise
    return _store_what_is_new(records, keys, moment, router)


@dataclass(frozen=True)
class _Routing:
    """What one transaction needs to find subscriptions."""

    router: Router | None
    keys: Mapping[bytes, SealedKey]
    routes: Routes

    def wanting(self, topic: str, priority: int) -> tuple[Any, ...]:
        return () if self.router is None else self.router.wanting(topic, priority)

    def unrouted(self, topic: str) -> str:
        return "delivered" if self.router is None else self.router.status_without(topic)

    def route(self, record: Record, wanting: tuple[Any, ...], moment: int) -> int:
        assert self.router is not None
        return self.router.route(self.routes, record, wanting, self.keys, moment)


@contextmanager
def _routing(router: Router | None, keys: Mapping[bytes, SealedKey]) -> Iterator[_Routing]:
    """Around a transaction: what it routed is handed on only when it has been committed."""
    found = _Routing(router, keys, Routes())
    try:
        yield found
    except BaseException:
        if router is not None:
            router.rolled_back(found.routes)
        raise
    if router is not None:
        router.committed(found.routes, keys)


def _store_what_is_new(records: list[Record], keys: Mapping[bytes, SealedKey], moment: int, router: Router | None) -> Stored:
    """The slow way, after a duplicate: looks first.

    Meanwhile another worker may store the same, or the cleanup remove the message that an alias was to name (its copy
    is a new message then), so it may look again.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with _routing(router, keys) as routing, writing():
                news, aliases = _sort_out(records)
                stored_keys.write(news, keys, moment)
                statuses = _write_rows(news, moment, routing)
                _write_aliases(aliases, moment)
            stored_keys.remember(news)
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


def _write_rows(records: Iterable[Record], moment: int, routing: _Routing) -> dict[str, int]:
    """The hot path: a microsecond and a half a row, so it is one loop and calls little."""
    text, once, instant = literals().text, literals().once, literals().moment
    stored_at = instant(moment)
    statuses: dict[str, int] = {}
    shared: dict[tuple[str, str, int, str | None], tuple[str, tuple[Any, ...], str]] = {}
    rows: list[str] = []
    for r in records:
        kind = (r.client, r.topic, r.priority, r.certificate)
        known = shared.get(kind)
        if known is None:
            certificate = "NULL" if r.certificate is None else text(r.certificate)
            begin = f"{text(r.client)},{text(r.topic)},{r.priority:d},{certificate}"
            known = shared[kind] = (begin, routing.wanting(r.topic, r.priority), routing.unrouted(r.topic))
        begin, wanting, status = known
        times, routed = "NULL,NULL,NULL", 0
        sender, idem = r.sender_hash, r.idempotency_key
        if (
            len(r.id) != 16  # the column would pad a shorter one in silence
            or len(r.data_key_id) != 16
            or (sender is not None and len(sender) != 16)
            or (idem is not None and len(idem) != 20)
        ):
            raise ValueError("ids and the sender's hash have 16 bytes, idempotency keys 20")
        if wanting or r.deliver_at is not None or r.expires_at is not None:
            status, times, routed = _course(r, wanting, status, moment, routing)
        statuses[status] = statuses.get(status, 0) + 1
        rows.append(
            f"(X'{r.id.hex()}',{begin},'{status}',{instant(r.accepted_at)},{stored_at},{times},{routed:d},0,{r.size:d},"
            + ("NULL," if sender is None else f"X'{sender.hex()}',")
            + ("NULL," if idem is None else f"X'{idem.hex()}',")
            + ("NULL" if r.correlation_id is None else once(r.correlation_id))
            + (",NULL" if r.traceparent is None else "," + once(r.traceparent))
            + f",X'{r.data_key_id.hex()}',X'{r.sealed.hex()}')"
        )
    insert(Message, _COLUMNS, rows)
    if routing.router is not None:
        routing.router.write(routing.routes)
    return statuses


def _course(r: Record, wanting: tuple[Any, ...], unrouted: str, moment: int, routing: _Routing) -> tuple[str, str, int]:
    """Status, the columns due_at, expires_at and deliver_at, and the number of deliveries of a record."""
    instant = literals().moment
    expires_at = "NULL" if r.expires_at is None else instant(r.expires_at)
    deliver_at = "NULL" if r.deliver_at is None else instant(r.deliver_at)
    kept = f"{expires_at},{deliver_at}"
    if r.expires_at is not None and r.expires_at <= moment:
        return "expired", f"NULL,{kept}", 0
    begun = len(routing.routes.born)
    routed = routing.route(r, wanting, moment) if wanting else 0
    if r.deliver_at is not None and r.deliver_at > moment:
        return "scheduled", f"{deliver_at},{kept}", routed
    if not routed:
        return unrouted, f"NULL,{kept}", 0
    status = "processing" if len(routing.routes.born) > begun else "pending"
    return status, f"{expires_at},{kept}", routed  # the next thing that the clock does to it is to end it


def _write_aliases(aliases: Mapping[bytes, bytes], moment: int) -> None:
    rows = [{"id": later, "message": first, "created_at": from_micros(moment)} for later, first in aliases.items()]
    if rows:
        MessageAlias.insert_many(rows).execute()


def _is_duplicate(error: pw.IntegrityError) -> bool:
    return error_number(error) == _DUPLICATE_ENTRY or "UNIQUE constraint failed" in str(error)


def _is_gone(error: pw.IntegrityError) -> bool:
    return error_number(error) == _NO_REFERENCED_ROW or "FOREIGN KEY constraint failed" in str(error)
