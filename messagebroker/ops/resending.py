"""Having messages delivered again: one, or all that failed since a time. Their ids stay, so that receivers can drop copies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.db.models import Message
from messagebroker.errors import Conflict, NotFound
from messagebroker.ops import audit, clock, ids
from messagebroker.ops.audit import Actor
from messagebroker.ops.cancelling import CANCELLED
from messagebroker.ops.changes import change
from messagebroker.ops.deliveries.following import follow_reopened
from messagebroker.ops.due import database_now, expired, lock_messages
from messagebroker.ops.subscriptions import find

Delivery: Any = models.Delivery

BATCH = 500
MOST = 50_000
SECONDS = 10.0
"""Of one recovery; what is left is for another one."""

FRESH: dict[str, Any] = {
    "status": "pending", "attempts": 0, "crashes": 0, "holder": None, "ended_at": None, "fingerprint": None, "error": None,
}  # fmt: skip
"""A delivery that begins again, with its whole schedule before it."""


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """`found`: failed deliveries of that time, MOST at most; `recovered`: those that are due again; `more`: some are left."""

    found: int
    recovered: int
    more: bool
    lasts_seconds: float


def resend(number: int, message_id: bytes, actor: Actor) -> datetime:
    """Makes one delivery due now, whether it was delivered or not; when that is.

    Raises:
        NotFound: the message was never for this subscription.
        Conflict: it is under way; it was cancelled; its time is over or has not come; the subscription is disabled.
    """
    with change():
        require_enabled(number)
        lock_messages([message_id])
        row = Delivery.get_or_none(Delivery.message == message_id, Delivery.subscription_id == number)
        message = Message.select(Message.status, Message.expires_at).where(Message.id == message_id).get_or_none()
        if row is None or message is None:
            raise NotFound(f"message {ids.text(message_id)} has no delivery for subscription {number}")
        now = database_now()
        if message.expires_at is not None and message.expires_at <= now:
            raise Conflict(f"message {ids.text(message_id)} expired at {message.expires_at:%Y-%m-%d %H:%M:%S} UTC")
        if message.status == "scheduled" or row.error == CANCELLED:
            raise Conflict(f"message {ids.text(message_id)} is {message.status}, and stays so")
        if row.status == "processing" or not _due_now(row, now, actor):
            raise Conflict(f"message {ids.text(message_id)} is being delivered to subscription {number} now; look at the logs")
        reopened([message_id])
        told = {"subscription": number, "was": row.status}
        audit.record_by(actor, "webhook.resend", "message", ids.text(message_id), told)
    return now


def _due_now(row: Any, now: datetime, actor: Actor) -> bool:
    """False when a worker was faster: whoever claims a delivery locks no message."""
    fields = {} if row.status == "pending" else {**FRESH, "move_id": None}
    fields |= {"due_at": now, "asked_by": actor.name}
    mine = (Delivery.message == row.message_id) & (Delivery.subscription_id == row.subscription_id)
    return bool(Delivery.update(**fields).where(mine, Delivery.status == row.status).execute())


def preview(number: int, since: datetime, until: datetime | None = None) -> int:
    """How many would be found by `recover`, MOST at most."""
    with connected():
        found = 0
        for batch in _failed(number, since, until, advance=True):
            found += len(batch) - len(expired(batch))
            if found >= MOST:
                break
    return min(found, MOST)


def recover(number: int, since: datetime, until: datetime | None, actor: Actor, *, rate: int) -> Recovered:
    """Makes failed deliveries due again, of messages that were accepted in that time: `rate` a second, oldest kinds first.

    Raises:
        Conflict: the subscription is disabled.
    """
    begin, done, more = database_now(), 0, False
    deadline = time.monotonic() + SECONDS
    with connected():
        require_enabled(number)
        told = {"since": since.isoformat(), "until": (until or clock.now()).isoformat(), "rate": rate}
        audit.record_by(actor, "webhook.recover", "subscription", str(number), told)  # before anything is sent again
        for batch in _failed(number, since, until, advance=False):
            if done >= MOST or time.monotonic() > deadline:
                more = True
                break
            done += _make_due(number, batch, begin + timedelta(seconds=done / rate), rate, actor)
        audit.record_by(actor, "webhook.recovered", "subscription", str(number), {"recovered": done, "more": more})
    return Recovered(found=done, recovered=done, more=more, lasts_seconds=done / rate)


def _make_due(number: int, batch: list[bytes], first: datetime, rate: int, actor: Actor) -> int:
    """A transaction of its own: whoever else changes one of them, it is changed once."""
    with change():
        lock_messages(batch)
        mine = (Delivery.subscription_id == number) & (Delivery.status == "failed") & Delivery.move_id.is_null()
        found = Delivery.select(Delivery.message).where(mine, Delivery.message << batch)
        still = {bytes(row[0]) for row in found.tuples()} - expired(batch)
        step = max(1, rate // 10)  # ten moments a second are spread enough
        chosen = [message_id for message_id in batch if message_id in still]
        for at in range(0, len(chosen), step):
            due_at = first + timedelta(seconds=at / rate)
            part = chosen[at : at + step]
            Delivery.update(**FRESH, due_at=due_at, asked_by=actor.name).where(mine, Delivery.message << part).execute()
        reopened(chosen)
    return len(chosen)


def reopened(messages: list[bytes]) -> None:
    """Inside of a transaction that has locked these messages: their statuses follow deliveries that begin again."""
    if messages:
        follow_reopened(messages)


def require_enabled(number: int) -> None:
    """Raises NotFound or Conflict for a subscription that gets nothing."""
    details = find(number)
    if details.disabled_at is not None:
        raise Conflict(f"subscription {number} is disabled ({details.disabled_why}); enable it first")


def _failed(number: int, since: datetime, until: datetime | None, *, advance: bool) -> Iterator[list[bytes]]:
    """Batches of failed deliveries of a time, by default up to now, one range of an index for each kind of error.

    `advance` False: what was given before is not failed any more.
    """
    low, high = ids.floor(since), ids.end_of(until)
    for kind in _kinds(number):
        after = None
        failed = (Delivery.status == "failed") & (Delivery.subscription_id == number) & Delivery.move_id.is_null()
        of_kind = failed & (Delivery.fingerprint.is_null() if kind is None else Delivery.fingerprint == kind)
        while True:
            window = Delivery.message < high, Delivery.message > after if after is not None else Delivery.message >= low
            query = Delivery.select(Delivery.message).where(of_kind, *window).order_by(Delivery.message).limit(BATCH)
            batch = [bytes(row[0]) for row in query.tuples()]
            if not batch:
                break
            yield batch
            after = batch[-1]


def _kinds(number: int) -> list[str | None]:
    """The fingerprints of what failed, one step in the index for each."""
    failed = (Delivery.status == "failed") & (Delivery.subscription_id == number)
    kinds: list[str | None] = [None]
    after = ""
    while True:
        query = Delivery.select(Delivery.fingerprint).where(failed, Delivery.fingerprint > after)
        row = query.order_by(Delivery.fingerprint).limit(1).tuples().first()
        if row is None:
            return kinds
        after = row[0]
        kinds.append(after)
