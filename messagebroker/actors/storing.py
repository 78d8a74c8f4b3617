"""What an `ingest` actor does: it never gives up, and one bad record never holds up its neighbours."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec
import peewee as pw
import structlog

from messagebroker.actors.stopping import Requeue
from messagebroker.actors.suspects import CRASH_LIMIT
from messagebroker.actors.waits import WAITS
from messagebroker.errors import Unavailable
from messagebroker.ops import ids, metrics
from messagebroker.ops.deliveries.routing import Router
from messagebroker.ops.due import database_now
from messagebroker.ops.failures import set_aside, set_aside_unread
from messagebroker.ops.records import CALL_FORMAT, IngestCall, Record, SealedKey, decode_call
from messagebroker.ops.store import Stored, store

for _reason in ("crash", "refused", "unreadable"):  # an alarm about what is new needs a 0 to begin with
    metrics.INGEST_FAILURES.labels(_reason)

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0
_SAYS_AFTER = 0.5  # shorter ones are deadlocks and fail-overs, not news

_BAD_DATA = (pw.DataError, pw.IntegrityError, ValueError, TypeError, AttributeError, OverflowError)
"""What one record can provoke. Any other refusal (no table, no rights) would meet every record: it is waited out, so
that a half-done upgrade or a lost grant makes a backlog and not a heap of failures."""

_router: Router | None = None

T = TypeVar("T")

_log = structlog.get_logger("messagebroker.ingest")


def use(router: Router | None) -> None:
    """From now on messages are routed by it; None: to nobody."""
    global _router  # noqa: PLW0603 - actors are module-level functions, and are called without it
    _router = router


def store_calls(calls: Sequence[bytes], *, queue: str, crashes: int, stopping: threading.Event) -> None:
    """Stores what the calls carry, in one transaction unless a record is bad.

    Args:
        calls: as `encode_call` made them.
        queue: for the metrics.
        crashes: workers that the (then single) call has killed.
        stopping: set when the worker stops.

    Raises:
        Requeue: the worker stops while the database does not answer.
    """
    work = _Storing(queue, stopping)
    if crashes > CRASH_LIMIT:  # reading it may be what kills
        work.keep_unread(calls, f"killed its worker {crashes} times, the last time while it was set aside")
        return
    records: list[Record] = []
    keys: dict[bytes, SealedKey] = {}
    for data in calls:
        call = work.read(data)
        records += call.records
        keys.update((key.id, key) for key in call.keys)
    if crashes == CRASH_LIMIT:
        work.keep(records, keys, f"killed its worker {crashes} times", "crash")
    elif records:
        work.store(records, keys)


class _Storing:
    def __init__(self, queue: str, stopping: threading.Event) -> None:
        self._queue = queue
        self._stopping = stopping

    def read(self, data: bytes) -> IngestCall:
        """An empty call in place of one that cannot be read, which is kept."""
        try:
            call = decode_call(data)
            if call.format in (CALL_FORMAT, CALL_FORMAT - 1):
                return call
            error = f"the call has format {call.format}; this version reads {CALL_FORMAT} and the one before"
        except (msgspec.DecodeError, msgspec.ValidationError) as problem:
            error = f"not readable as a call: {problem}"
        self.keep_unread([data], error)
        return IngestCall(CALL_FORMAT, [], [])

    def store(self, records: list[Record], keys: Mapping[bytes, SealedKey]) -> None:
        """By the database's clock, which decides when deliveries are due and leases end: workers' clocks differ."""
        started = time.perf_counter()
        try:
            stored = self._patiently(lambda: store(records, keys, now=database_now(), router=_router))
        except _BAD_DATA as error:
            self._part(records, keys, error)
            return
        metrics.INGEST_SECONDS.observe(time.perf_counter() - started)
        metrics.INGEST_SIZE.observe(len(records))
        self._count(stored)

    def _part(self, records: list[Record], keys: Mapping[bytes, SealedKey], error: Exception) -> None:
        """Halves the list until the bad record is alone."""
        if len(records) == 1:
            self.keep(records, keys, f"{type(error).__name__}: {error}", "refused")
            return
        middle = len(records) // 2
        self.store(records[:middle], keys)
        self.store(records[middle:], keys)

    def keep(self, records: list[Record], keys: Mapping[bytes, SealedKey], error: str, reason: str) -> None:
        for record in records:
            _log.error("a message is set aside", message_id=_name_of(record), error=error)
            self._patiently(lambda record=record: set_aside(record, keys.get(record.data_key_id), error))  # type: ignore[misc]
            metrics.INGEST_FAILURES.labels(reason).inc()

    def keep_unread(self, calls: Sequence[bytes], error: str) -> None:
        for call in calls:
            _log.error("a call is set aside", queue=self._queue, error=error)
            self._patiently(lambda call=call: set_aside_unread(call, error))  # type: ignore[misc]
            metrics.INGEST_FAILURES.labels("unreadable").inc()

    def _patiently(self, action: Callable[[], T]) -> T:
        """Repeats what the database cannot take now, until it can."""
        pause, waited = _FIRST_PAUSE, 0.0
        try:
            while True:
                try:
                    return action()
                except _BAD_DATA:
                    raise
                except (Unavailable, pw.PeeweeException) as error:
                    if waited <= _SAYS_AFTER < waited + pause:
                        _log.warning("pauses until the database takes rows again", queue=self._queue, error=str(error))
                    if waited + pause > _SAYS_AFTER:
                        WAITS.note(str(error))
                    if self._stopping.wait(pause):
                        raise Requeue from error
                    waited += pause
                    pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            WAITS.end()
            if waited > _SAYS_AFTER and not self._stopping.is_set():
                _log.info("goes on", queue=self._queue, waited_seconds=round(waited, 1))

    def _count(self, stored: Stored) -> None:
        metrics.STORED.labels(self._queue).inc(stored.stored)
        for status, number in stored.statuses.items():
            metrics.STATUS_CHANGES.labels(status).inc(number)
        if stored.duplicates:
            metrics.DUPLICATES.labels("redelivered").inc(stored.duplicates)
        if stored.aliased:
            metrics.DUPLICATES.labels("idempotency-key").inc(stored.aliased)


def _name_of(record: Record) -> str:
    """The id as people know it; what is wrong with the record may be just its id."""
    return ids.text(record.id) if len(record.id) == 16 else record.id.hex()[:64]
