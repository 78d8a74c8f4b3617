"""What is stuck, by hand: deliveries whose worker or lease is gone, messages that their deliveries left behind.

Workers rescue by themselves within seconds; this is for when they do not, or do not run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import peewee as pw

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.db.models import FRESH, OPEN_DELIVERIES, PRIORITIES, Delivery, Message
from messagebroker.db.writing import writing
from messagebroker.errors import Refused
from messagebroker.ops import audit, due
from messagebroker.ops.audit import Actor
from messagebroker.ops.deliveries.claimed import Pair, among
from messagebroker.ops.deliveries.following import follow_reopened
from messagebroker.ops.deliveries.routing import LEASE_SECONDS
from messagebroker.ops.due import database_now, lock_messages
from messagebroker.ops.metrics import STATUS_CHANGES

LEAST = timedelta(seconds=LEASE_SECONDS)
"""A delivery may run that long: whoever resets it earlier has it delivered twice."""

PIECE = 500
_BETWEEN = ("pending", "processing")

Heartbeat: Any = models.Heartbeat  # the stubs of peewee know no columns
Subscription: Any = models.Subscription


@dataclass(kw_only=True)
class Reset:
    """What is stuck, or was put right."""

    deliveries: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PRIORITIES, 0))  # by queue: pending again
    messages: int = 0  # without open deliveries, but not at an end
    oldest_seconds: float = 0.0  # since the first of the deliveries was taken

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.deliveries.values()) + self.messages


def look(older_than: timedelta) -> Reset:
    """What `reset` would do.

    Raises:
        Refused: less than the length of a lease.
        Unavailable: the database does not answer.
    """
    return _all(older_than, None)


def reset(older_than: timedelta, actor: Actor) -> Reset:
    """Deliveries that were taken longer ago than this, or by a worker that is gone, are pending again, due at once;
    messages whose deliveries have all ended end as these did. Attempts keep their count.

    Raises:
        Refused, Unavailable: as `look`.
    """
    found = look(older_than)
    if not found.total:
        return found
    details = {"older_than_seconds": older_than.total_seconds(), "deliveries": found.deliveries, "messages": found.messages}
    audit.record_by(actor, "queue.reset-stuck", "queue", "all", details)  # before anything is changed
    return _all(older_than, actor)


def _all(older_than: timedelta, actor: Actor | None) -> Reset:
    """`actor` None: only looks."""
    if older_than < LEAST:
        raise Refused(f"a delivery may run for {LEASE_SECONDS} s, so that only what is older can be stuck")
    found = Reset()
    with connected():
        now = database_now()
        condition = _lost(now, now - older_than + LEAST)
        for rows in _pieces(condition):
            for row in rows:
                found.deliveries[PRIORITIES[row.priority]] += 1
                found.oldest_seconds = max(found.oldest_seconds, (now - row.due_at + LEAST).total_seconds())
            if actor is not None:
                _free([(bytes(row.message_id), row.subscription_id) for row in rows], condition, actor)
    for ids in _left_behind(now - older_than):
        found.messages += len(ids)
        if actor is not None:
            for status, number in due.put_right(ids, _BETWEEN).items():
                STATUS_CHANGES.labels(status).inc(number)
    return found


def _lost(now: datetime, ended_before: datetime) -> Any:
    """Of the index of what is in somebody's hands. A client that pulls holds its lease itself, until its end."""
    alive = [bytes.fromhex(row.instance) for row in Heartbeat.select(Heartbeat.instance).where(Heartbeat.seen_at > now - FRESH)]
    pulled = [row.id for row in Subscription.select(Subscription.id).where(Subscription.channel == "pull")]
    is_over = Delivery.due_at <= ended_before
    lost = is_over | Delivery.holder.not_in(alive) if alive else pw.SQL("1 = 1")
    if pulled:
        lost = is_over | (Delivery.subscription_id.not_in(pulled) & lost)
    return (Delivery.status == "processing") & lost


def _pieces(condition: Any) -> Iterator[list[Any]]:
    """In the order of keys, so that looking alone comes to an end too."""
    columns = (Delivery.message, Delivery.subscription_id, Delivery.priority, Delivery.due_at)
    after: tuple[bytes, int] | None = None
    while True:
        query = Delivery.select(*columns).where(condition)
        if after is not None:
            message, number = after
            later = (Delivery.message > message) | ((Delivery.message == message) & (Delivery.subscription_id > number))
            query = query.where(later)
        rows = list(query.order_by(Delivery.message, Delivery.subscription_id).limit(PIECE))
        if not rows:
            return
        yield rows
        after = (bytes(rows[-1].message_id), rows[-1].subscription_id)


def _free(pairs: list[Pair], condition: Any, actor: Actor) -> None:
    messages = sorted({message for message, _ in pairs})
    with writing():
        lock_messages(messages)
        fields = {"status": "pending", "holder": None, "due_at": database_now(), "asked_by": actor.name}
        Delivery.update(**fields).where(among(pairs), condition).execute()
        follow_reopened(messages)


def _left_behind(before: datetime) -> Iterator[list[bytes]]:
    """Messages that are not at an end though none of their deliveries is open, found in the order of ids."""
    for status in _BETWEEN:
        after = b""
        while True:
            with connected():
                old = (Message.status == status) & (Message.stored_at < before) & (Message.id > after)
                rows: Any = Message.select(Message.id).where(old).order_by(Message.id).limit(PIECE).tuples()
                seen = [bytes(row[0]) for row in rows]
                if not seen:
                    break
                still: Any = Delivery.select(Delivery.message).where(
                    Delivery.message << seen, Delivery.status << OPEN_DELIVERIES
                )
                held = {bytes(row[0]) for row in still.tuples()}
            after = seen[-1]
            if found := [message for message in seen if message not in held]:
                yield found
