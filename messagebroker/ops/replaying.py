"""Messages for a subscription that were never for it: stored before it was made, while it was disabled, or on other topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.errors import Conflict
from messagebroker.ops import audit, clock, ids, resending
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change
from messagebroker.ops.deliveries.claimed import keys_of
from messagebroker.ops.deliveries.routing import Router, Routes
from messagebroker.ops.deliveries.subscribed import Subscribed
from messagebroker.ops.due import database_now, lock_messages
from messagebroker.ops.records import Record, SealedKey

DeadLetterMove: Any = models.DeadLetterMove
DeadLetterMoved: Any = models.DeadLetterMoved
Delivery: Any = models.Delivery
Message: Any = models.Message

LOOK = 2_000
"""Messages that are looked at together; those that are given are one transaction."""

MOST = 50_000
SECONDS = 10.0
"""Of one replay by the API; what is left is for another one."""

_OPENED = 50  # payloads at once: each may be as large as a message may be

_COLUMNS = (
    Message.id, Message.client_id, Message.topic, Message.priority, Message.created_at, Message.size, Message.data_key_id,
    Message.deliver_at, Message.expires_at, Message.sender_hash, Message.correlation_id, Message.traceparent,
)  # fmt: skip
_NOT_ENDED_EARLY = ("scheduled", "pending", "processing", "delivered", "failed")


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """`found`: messages that it wants and never had, about MOST at most; `replayed`: those that are due for it now.

    `next_since`: from where to ask for the rest; None: this was all.
    """

    found: int
    replayed: int
    next_since: datetime | None
    lasts_seconds: float


class Replay:
    """Of one subscription.

    Args:
        router: of this process.
        number: of the subscription.
        rate: messages a second.
        seconds: after which it begins nothing more; None: it goes on to the end, or to MOST.
        report: told how many were found, after each look.

    Raises:
        NotFound: there is no such subscription.
        Conflict: it is disabled, or cannot be read.
    """

    def __init__(
        self,
        router: Router,
        number: int,
        *,
        rate: int,
        seconds: float | None = None,
        report: Callable[[int], None] = lambda found: None,
    ) -> None:
        with connected():
            resending.require_enabled(number)
            router.refresh(older_than=0)
        known = router.subscribed(number)
        if known is None or not known.is_usable:
            raise Conflict(f"subscription {number} cannot be read here, so that nobody knows what it wants; the log says why")
        self._router = router
        self._wanting: Subscribed = known
        self._rate = rate
        self._end = None if seconds is None else time.monotonic() + seconds
        self._report = report

    def preview(self, since: datetime, until: datetime | None = None) -> Replayed:
        """Only counts."""
        found = 0
        with connected():
            for position, wanted in self._looks(since, until):
                found += len(self._records(wanted))
                self._report(found)
                if self._is_enough(found):
                    return self._told(found, 0, position)
        return self._told(found, 0, None)

    def run(self, since: datetime, until: datetime | None, actor: Actor) -> Replayed:
        """Gives it what was accepted in that time, the oldest first. The ids stay, the times too."""
        number, begin, done = self._wanting.id, database_now(), 0
        told = {"since": since.isoformat(), "until": (until or clock.now()).isoformat(), "rate": self._rate}
        rest: bytes | None = None
        with connected():
            audit.record_by(actor, "subscription.replay", "subscription", str(number), told)  # before anything is sent
            for position, wanted in self._looks(since, until):
                done += self._give(wanted, begin, begin + timedelta(seconds=done / self._rate), actor)
                self._report(done)
                if self._is_enough(done):
                    rest = position
                    break
            shown = self._told(done, done, rest)
            came = {"replayed": done, "next_since": shown.next_since and shown.next_since.isoformat()}
            audit.record_by(actor, "subscription.replayed", "subscription", str(number), came)
        return shown

    def _is_enough(self, found: int) -> bool:
        return found >= MOST or (self._end is not None and time.monotonic() > self._end)

    def _told(self, found: int, replayed: int, position: bytes | None) -> Replayed:
        rest = None if position is None else ids.drawn_at(position)
        return Replayed(found=found, replayed=replayed, next_since=rest, lasts_seconds=found / self._rate)

    def _looks(self, since: datetime, until: datetime | None) -> Iterator[tuple[bytes, list[bytes]]]:
        """Where each look ended, and what it found on topics and of priorities that are wanted."""
        after, high = None, ids.end_of(until)
        while True:
            window = Message.id < high, Message.id >= ids.floor(since) if after is None else Message.id > after
            query = Message.select(Message.id, Message.topic, Message.priority).where(*window).order_by(Message.id).limit(LOOK)
            seen = [(bytes(row[0]), row[1], row[2]) for row in query.tuples()]
            if not seen:
                return
            after = seen[-1][0]
            yield after, self._not_had([one for one, topic, priority in seen if self._wanting.wants(topic, priority)])

    def _not_had(self, messages: list[bytes]) -> list[bytes]:
        """Those that never were for it, and may still be."""
        goes = Message.status.in_(_NOT_ENDED_EARLY) & (Message.expires_at.is_null() | (Message.expires_at > database_now()))
        had = Message.id.in_(self._deliveries(messages)) | Message.id.in_(self._purged(messages))
        query = Message.select(Message.id).where(Message.id << messages, goes, ~had).order_by(Message.id)
        return [bytes(row[0]) for row in query.tuples()] if messages else []

    def _deliveries(self, messages: list[bytes]) -> Any:
        mine = Delivery.subscription_id == self._wanting.id
        return Delivery.select(Delivery.message).where(mine, Delivery.message << messages)

    def _purged(self, messages: list[bytes]) -> Any:
        """Somebody wanted to be rid of them for good; their deliveries are not there any more."""
        mine = (DeadLetterMoved.subscription_id == self._wanting.id) & DeadLetterMoved.undone_at.is_null()
        of_purges = DeadLetterMoved.select(DeadLetterMoved.message).join(DeadLetterMove).where(DeadLetterMove.kind == "purge")
        return of_purges.where(mine, DeadLetterMoved.message << messages)

    def _records(self, messages: list[bytes]) -> list[Record]:
        """Those of them that its filter on metadata lets pass. Without what is sealed, which only that filter needs."""
        rows = Message.select(*_COLUMNS).where(Message.id << messages).order_by(Message.id) if messages else []
        found = [_record(row) for row in rows]
        if self._wanting.metadata is None:
            return found
        keys = keys_of({record.data_key_id for record in found})
        return [record for at in range(0, len(found), _OPENED) for record in self._passing(found[at : at + _OPENED], keys)]

    def _passing(self, records: list[Record], keys: Mapping[bytes, SealedKey]) -> list[Record]:
        rows = Message.select(Message.id, Message.payload).where(Message.id << [record.id for record in records])
        sealed = {bytes(row.id): bytes(row.payload) for row in rows}
        whole = ((record, msgspec.structs.replace(record, sealed=sealed[record.id])) for record in records)
        return [record for record, with_payload in whole if self._router.concerns(with_payload, self._wanting, keys)]

    def _give(self, messages: list[bytes], moment: datetime, first: datetime, actor: Actor) -> int:
        """A transaction of its own: whoever else changes one of them, or gives it, it is given once."""
        if not messages:
            return 0
        with change():
            lock_messages(messages)
            records, routes = self._records(self._not_had(messages)), Routes()
            for at, record in enumerate(records):
                due_at = max(record.deliver_at or 0, clock.micros(first + timedelta(seconds=at / self._rate)))
                later = msgspec.structs.replace(record, deliver_at=due_at)
                self._router.add(routes, later, self._wanting, clock.micros(moment))
            self._router.write(routes)
            given = [record.id for record in records]
            mine = (Delivery.subscription_id == self._wanting.id) & (Delivery.message << given)
            if given:
                Delivery.update(asked_by=actor.name).where(mine).execute()
                Message.update(routed=Message.routed + 1).where(Message.id << given).execute()
            resending.reopened(given)
        return len(given)


def _record(row: Any) -> Record:
    return Record(
        id=bytes(row.id),
        client=row.client_id,
        topic=row.topic,
        priority=row.priority,
        accepted_at=clock.micros(row.created_at),
        size=row.size,
        data_key_id=bytes(row.data_key_id),
        sealed=b"",
        deliver_at=None if row.deliver_at is None else clock.micros(row.deliver_at),
        expires_at=None if row.expires_at is None else clock.micros(row.expires_at),
        sender_hash=None if row.sender_hash is None else bytes(row.sender_hash),
        correlation_id=row.correlation_id,
        traceparent=row.traceparent,
    )
