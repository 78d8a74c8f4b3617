"""What becomes of leases: acknowledged, extended, returned, or over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import peewee as pw
import structlog

from messagebroker.db.connection import connected, is_outage
from messagebroker.db.models import PRIORITIES, Delivery, Subscription
from messagebroker.db.writing import time_now, writing
from messagebroker.ops import leases
from messagebroker.ops.channels.channel import Outcome
from messagebroker.ops.deliveries.claimed import among
from messagebroker.ops.deliveries.claiming import LIMIT
from messagebroker.ops.deliveries.ending import end
from messagebroker.ops.due import database_now, lock_messages
from messagebroker.ops.leases import Lease
from messagebroker.ops.pulls import CHANNEL, Source, first_due, result_of, source_of

State = Literal["done", "lost"]
"""`lost`: the lease has ended, or never was this subscription's: somebody else may have the message."""

_log = structlog.get_logger("messagebroker.deliveries")

RETURNED = "returned by the client"
RAN_OUT = "the lease ended without an acknowledgement"


@dataclass(frozen=True)
class _Held:
    """The leases that a client named, beside the rows that they are of; messages are locked."""

    now: datetime
    rows: dict[str, tuple[Lease, Delivery]]  # whose row still names the lease

    def open(self) -> dict[str, Lease]:
        """Those that have not ended."""
        return {text: lease for text, (lease, row) in self.rows.items() if self._is_open(row)}

    def _is_open(self, row: Delivery) -> bool:
        return row.status == "processing" and row.due_at is not None and row.due_at > self.now

    def ended_as(self, *statuses: str) -> set[str]:
        """Those that the client ended itself, with this outcome: it did not hear the answer, and asks again."""
        return {text for text, (_, row) in self.rows.items() if row.status in statuses}


def acknowledge(source: Source, lease_ids: Sequence[str]) -> list[State]:
    """The messages are delivered; what became of each lease. Saying it twice changes nothing.

    Raises:
        Unavailable: the database does not answer.
    """
    return _settle(source, lease_ids, Outcome(kind="delivered"), ("delivered",))


def give_back(source: Source, lease_ids: Sequence[str], *, delay_seconds: float = 0.0) -> list[State]:
    """The messages are there again for anybody, after the delay; one that was returned too often is a dead letter.

    Raises:
        Unavailable: the database does not answer.
    """
    outcome = Outcome(kind="retry", error=RETURNED, retry_after=delay_seconds)
    return _settle(source, lease_ids, outcome, ("pending", "failed"))


def _settle(source: Source, lease_ids: Sequence[str], outcome: Outcome, already: tuple[str, ...]) -> list[State]:
    with _held(source, lease_ids) as held:
        mine = held.open()
        end([result_of(source, lease, outcome) for lease in mine.values()])
        return _states(lease_ids, mine.keys() | held.ended_as(*already))


def extend(source: Source, lease_ids: Sequence[str], *, lease_seconds: float) -> tuple[list[State], datetime]:
    """The leases end so many seconds from now; what became of each, and when that is.

    Raises:
        Unavailable: the database does not answer.
    """
    with _held(source, lease_ids) as held:
        until = held.now + timedelta(seconds=lease_seconds)
        mine = held.open()
        if mine:
            rows = among((lease.message_id, source.id) for lease in mine.values())
            Delivery.update(due_at=until).where(rows).execute()
        return _states(lease_ids, set(mine)), until


@contextmanager
def _held(source: Source, lease_ids: Sequence[str]) -> Iterator[_Held]:
    parsed = {text: lease for text in lease_ids if (lease := leases.parse(text)) is not None}
    with connected(), writing():
        wanted = lock_messages({lease.message_id for lease in parsed.values()}) if parsed else set()
        rows = _rows(source.id, wanted, lambda row: row)
        named = {text: (lease, rows[lease.message_id]) for text, lease in parsed.items() if lease.message_id in rows}
        yield _Held(database_now(), {text: pair for text, pair in named.items() if pair[0].is_of(_holder(pair[1]))})


def _rows(subscription_id: int, messages: set[bytes], read: Callable[[Delivery], Any]) -> dict[bytes, Any]:
    found = Delivery.select().where(among((one, subscription_id) for one in messages)) if messages else ()
    return {bytes(row.message_id): read(row) for row in found}


def _holder(row: Delivery) -> bytes | None:
    return row.holder and bytes(row.holder)


def _states(lease_ids: Sequence[str], done: set[str]) -> list[State]:
    return ["done" if text in done else "lost" for text in lease_ids]


def release_expired() -> int:
    """Leases that ended: their messages are there again, or dead letters when that was the last attempt. How many.

    Raises:
        Unavailable: the database does not answer.
    """
    with connected():
        released = 0
        for number in first_due("processing", f"s.channel = '{CHANNEL}'"):
            try:
                row = Subscription.get_or_none(Subscription.id == number)
                released += _release(source_of(row)) if row is not None else 0
            except (pw.DatabaseError, ValueError) as error:  # of this one: the others' leases end all the same
                if is_outage(error):
                    raise
                _log.exception("leases that ended cannot be released", subscription=number)
        return released


def _release(source: Source) -> int:
    of_source = (Delivery.subscription_id == source.id) & (Delivery.priority << list(range(len(PRIORITIES))))
    is_over = (Delivery.status == "processing") & of_source & (Delivery.due_at <= time_now())
    query: Any = Delivery.select(Delivery.message).where(is_over).limit(LIMIT).tuples()
    found = [bytes(row[0]) for row in query]
    if not found:
        return 0
    with writing():
        lock_messages(found)
        rows = Delivery.select().where(among((one, source.id) for one in found), is_over)  # some may have been extended
        lost = [Lease(bytes(row.message_id), bytes(row.holder)) for row in rows if row.holder is not None]
        end([result_of(source, lease, Outcome(kind="retry", error=RAN_OUT)) for lease in lost])
        if lost:  # nobody is told any more that it was theirs
            Delivery.update(holder=None).where(among((lease.message_id, source.id) for lease in lost)).execute()
        return len(lost)
