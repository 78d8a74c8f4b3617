"""Records set aside: the database refused them, or they killed their worker. Sealed, readable, retryable."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import suppress
from datetime import datetime
from typing import Any

import peewee as pw

from messagebroker.db.connection import connected
from messagebroker.db.models import IngestFailure
from messagebroker.db.writing import writing
from messagebroker.errors import NotFound, Refused
from messagebroker.ops import audit, clock, ids
from messagebroker.ops.audit import Actor
from messagebroker.ops.clock import from_micros
from messagebroker.ops.deliveries.routing import Router
from messagebroker.ops.due import database_now
from messagebroker.ops.records import Record, SealedKey, decode_call, encode_kept
from messagebroker.ops.store import Stored, store

UNKNOWN_CLIENT = "unknown"
_PLAIN = [field for field in IngestFailure._meta.sorted_fields if field is not IngestFailure.record]


def set_aside(record: Record, key: SealedKey | None, error: str) -> None:
    """Keeps one record that cannot be stored. Doing it twice keeps it once."""
    try:
        accepted_at = from_micros(record.accepted_at)
    except (ValueError, OverflowError):  # what is wrong with the record may be just this
        accepted_at = clock.now()
    _keep(record.id, record.client, accepted_at, error, encode_kept(record, key))


def set_aside_unread(call: bytes, error: str) -> None:
    """Keeps the bytes of a call that cannot be read, under an id made from them."""
    _keep(hashlib.sha256(call).digest()[:16], UNKNOWN_CLIENT, clock.now(), error, call)


def _keep(failure_id: bytes, client: str, accepted_at: datetime, error: str, data: bytes) -> None:
    with writing():
        IngestFailure.insert(
            id=failure_id[:16].ljust(16, b"\0"),
            client_id=client.encode("ascii", "replace").decode()[:63],
            accepted_at=accepted_at,
            failed_at=clock.now(),
            error=error[:4000],
            record=data,
        ).on_conflict_ignore().execute()


def count() -> int:
    """How many there are."""
    with connected():
        return int(IngestFailure.select().count())


def page(limit: int, *, newest_first: bool = True, after: tuple[datetime, bytes] | None = None) -> list[IngestFailure]:
    """Up to `limit` of them in the order in which they failed, without their bytes; `after` ends the page before."""
    at, own = IngestFailure.failed_at, IngestFailure.id
    query = IngestFailure.select(own)
    if after is not None:  # the first condition alone is the index range; the second passes over what was shown
        moment, last = after
        following = (at < moment) | (own < last) if newest_first else (at > moment) | (own > last)
        query = query.where(at <= moment if newest_first else at >= moment, following)
    order = (at.desc(), own.desc()) if newest_first else (at, own)
    with connected():
        wanted = [row.id for row in query.order_by(*order).limit(limit)]  # of an index alone
        return list(IngestFailure.select(*_PLAIN).where(own.in_(wanted)).order_by(*order)) if wanted else []


def newest(limit: int = 100) -> list[IngestFailure]:
    """The latest ones, without their bytes."""
    return page(limit)


def find(failure_id: bytes) -> IngestFailure:
    """One of them, with its bytes.

    Raises:
        NotFound: there is no such failure.
    """
    with connected():
        failure = IngestFailure.get_or_none(IngestFailure.id == failure_id)
    if failure is None:
        raise NotFound(f"no failed record has the id {ids.text(failure_id)}; `messagebroker queue failures` lists them")
    return failure


def all_ids() -> list[bytes]:
    """Of every failure, oldest first."""
    with connected():
        return [bytes(failure.id) for failure in IngestFailure.select(IngestFailure.id).order_by(IngestFailure.failed_at)]


def master_keys() -> Counter[bytes | None]:
    """How many failed records need which master key. What no program here can read counts for none: it cannot be retried."""
    found: Counter[bytes | None] = Counter()
    after = bytes(16)
    while True:
        with connected():
            query = IngestFailure.select(IngestFailure.id, IngestFailure.record).where(IngestFailure.id > after)
            rows: list[Any] = list(query.order_by(IngestFailure.id).limit(100).tuples())
        if not rows:
            return found
        for _, record in rows:
            with suppress(ValueError):  # msgspec's errors are ValueErrors too
                found.update({key.master_key_id for key in decode_call(bytes(record)).keys})
        after = bytes(rows[-1][0])


def retry(failure_id: bytes, actor: Actor, router: Router | None) -> Stored:
    """Stores a record again, for those who subscribed; when that succeeds it is a failure no more.

    Raises:
        NotFound: there is no such failure.
        Refused: the record is refused again, and kept.
        Unavailable: the database does not answer.
    """
    failure = find(failure_id)
    try:
        call = decode_call(bytes(failure.record))
        found = store(call.records, {key.id: key for key in call.keys}, now=database_now(), router=router)
    except (ValueError, pw.PeeweeException) as error:  # msgspec's errors are ValueErrors too
        raise Refused(f"still refused: {error}") from error
    with writing():
        if failure.delete_instance():  # else somebody else's retry was faster, and has its row
            details = {"client": failure.client_id, "stored": found.stored, "error": failure.error[:200]}
            audit.record_by(actor, "message.retry", "message", ids.text(failure_id), details)
    return found
