"""Everything that is known to have happened to one message, in the order of time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.db.models import User
from messagebroker.ops import audit, ids, messages, timeline_actions
from messagebroker.ops.messages import MessageView
from messagebroker.ops.scope import Scope
from messagebroker.ops.subscription_access import sees

Delivery: Any = models.Delivery
Attempt: Any = models.DeliveryAttempt
InboxItem: Any = models.InboxItem
Moved: Any = models.DeadLetterMoved

MOST = 1000
"""Attempts, and audit rows, of one message; of more than that the latest are shown."""


class SenderCertificate(msgspec.Struct, kw_only=True):
    """What the sender showed. All but the serial are null when the CA's books do not have it (any more)."""

    serial: str
    name: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked_at: datetime | None = None


class DeliveryState(msgspec.Struct, kw_only=True):
    """Where a delivery is now. `due_at`: pending: its next attempt; processing: the end of the lease."""

    subscription_id: int
    subscription: str | None
    channel: str | None
    status: str
    attempts: int
    due_at: datetime | None
    ended_at: datetime | None
    error: str | None


class Event(msgspec.Struct, kw_only=True):
    """`kind`: accepted, stored, scheduled, expired, routed, attempt, an end of a delivery (delivered, failed, expired,
    cancelled), inbox, read, retried, purged, undone, or an action of the audit log such as `message.open`, `queue.purge` or
    `subscription.disable`."""

    at: datetime
    kind: str
    who: str | None = None  # `client:NAME`, or as the audit log names them; null: the system itself
    subscription_id: int | None = None
    subscription: str | None = None
    number: int | None = None  # of an attempt
    duration_ms: int | None = None
    outcome: str | None = None
    code: int | None = None
    error: str | None = None
    details: dict[str, Any] | None = None


class Timeline(msgspec.Struct, kw_only=True):
    """`is_whole` false: the message has more attempts or audit rows than are shown; the latest are."""

    message: MessageView
    certificate: SenderCertificate | None
    deliveries: list[DeliveryState]
    events: list[Event]
    is_whole: bool


def of(message_id: bytes, scope: Scope | None = None, *, reader: User | None = None) -> Timeline:
    """The timeline, also under an alias.

    Args:
        message_id: 16 bytes.
        scope: what the person who asks may see; None: everything.
        reader: who is not told in whose inboxes it is, nor the errors, which name recipients and hosts, of subscriptions
            that are not theirs; None: somebody who may know.

    Raises:
        NotFound: no such message is stored, or it is outside of the scope: nobody learns which.
    """
    with connected():
        row = messages.row_of(message_id, messages.PLAIN, scope)
        own = bytes(row.id)
        deliveries = list(Delivery.select().where(Delivery.message == own).order_by(Delivery.subscription_id))
        attempts = list(Attempt.select().where(Attempt.message == own).order_by(Attempt.id.desc()).limit(MOST))
        moved = list(Moved.select(Moved, models.DeadLetterMove).join(models.DeadLetterMove).where(Moved.message == own))
        numbers = {one.subscription_id for part in (deliveries, attempts, moved) for one in part}
        known = {one.id: one for one in models.Subscription.select().where(models.Subscription.id << sorted(numbers))}
        foreign = {one for one in numbers if reader is not None and not (one in known and sees(reader, known[one]))}
        rows = _audited({message_id, own})
        actions, has_all_actions = timeline_actions.of(deliveries, attempts, most=MOST)
        events = [
            *_of_deliveries(deliveries, attempts),
            *_of_inboxes(own, names=reader is None),
            *_of_moves(moved),
            *(_of_audit(entry) for entry in rows),
            *(_of_audit(entry, number, tells=number not in foreign) for number, entry in actions),
        ]
        certificate = _certificate(row.certificate)
    for event in events:
        event.error = None if event.subscription_id in foreign else event.error
        event.subscription = known[event.subscription_id].name if event.subscription_id in known else None
    begin = list(_of_message(row))
    return Timeline(
        message=messages.view(row, message_id),
        certificate=certificate,
        deliveries=[
            _state(one, known.get(one.subscription_id), tells=one.subscription_id not in foreign) for one in deliveries
        ],
        # proxies have clocks of their own: what is always first comes first
        events=begin + sorted(events, key=lambda event: event.at),
        is_whole=len(attempts) < MOST and len(rows) < MOST and has_all_actions,
    )


def _of_message(row: Any) -> Iterator[Event]:
    told = {"correlation_id": row.correlation_id, "traceparent": row.traceparent, "certificate": row.certificate}
    details = {name: value for name, value in told.items() if value is not None}
    yield Event(at=row.created_at, kind="accepted", who=f"client:{row.client_id}", details=details or None)
    yield Event(at=row.stored_at, kind="stored", details={"routed": row.routed})
    if row.deliver_at is not None:
        yield Event(at=row.stored_at, kind="scheduled", details={"due_at": row.deliver_at})


def _of_deliveries(deliveries: list[Any], attempts: list[Any]) -> Iterator[Event]:
    for one in deliveries:
        yield Event(at=one.created_at, kind="routed", subscription_id=one.subscription_id)
        if one.ended_at is not None:
            yield Event(at=one.ended_at, kind=one.status, subscription_id=one.subscription_id, error=one.error)
    for one in attempts:
        yield Event(
            at=one.started_at,
            kind="attempt",
            who=one.asked_by,
            subscription_id=one.subscription_id,
            number=one.number,
            duration_ms=one.duration_ms,
            outcome=one.outcome,
            code=one.code,
            error=one.error,
        )


def _of_inboxes(own: bytes, *, names: bool) -> Iterator[Event]:
    query = InboxItem.select(InboxItem, models.User).join(models.User).where(InboxItem.message == own)
    for item in query.order_by(InboxItem.id):
        who = f"user:{item.user.email}" if names else None
        whose = None if who is None else {"user": who}
        yield Event(at=item.created_at, kind="inbox", subscription_id=item.subscription_id, details=whose)
        if item.read_at is not None:
            yield Event(at=item.read_at, kind="read", who=who, subscription_id=item.subscription_id)


def _of_moves(moved: list[Any]) -> Iterator[Event]:
    for one in moved:
        move = one.move
        details = {"move": move.id, **({"reason": move.reason} if move.reason else {})}
        kind = "purged" if move.kind == "purge" else "retried"
        yield Event(at=one.moved_at, kind=kind, who=move.created_by, subscription_id=one.subscription_id, details=details)
        if one.undone_at is not None:
            who = _who_undid(move.id)
            yield Event(
                at=one.undone_at, kind="undone", who=who, subscription_id=one.subscription_id, details={"move": move.id}
            )


def _who_undid(move: int) -> str | None:
    filters = audit.Filters(object_type="dead_letters", object_id=str(move))
    return next((entry.actor for entry in audit.page(limit=5, filters=filters) if entry.action == "dead_letters.undo"), None)


def _audited(known: set[bytes]) -> list[audit.Entry]:
    """What people did to it, under each id that it was known by."""
    found: list[audit.Entry] = []
    for one in known:
        found += audit.page(limit=MOST, filters=audit.Filters(object_type="message", object_id=ids.text(one)))
    return found


def _of_audit(entry: audit.Entry, subscription_id: int | None = None, *, tells: bool = True) -> Event:
    details = entry.details if tells else None  # of a subscription, they name hosts
    return Event(at=entry.created_at, kind=entry.action, who=entry.actor, subscription_id=subscription_id, details=details)


def _certificate(serial: str | None) -> SenderCertificate | None:
    if serial is None:
        return None
    row = models.Certificate.get_or_none(models.Certificate.serial == serial)
    if row is None:
        return SenderCertificate(serial=serial)
    names = ("name", "not_before", "not_after", "revoked_at")
    return SenderCertificate(serial=serial, **{name: getattr(row, name) for name in names})


def _state(row: Any, subscription: Any, *, tells: bool) -> DeliveryState:
    names = ("subscription_id", "status", "attempts", "due_at", "ended_at")
    return DeliveryState(
        error=row.error if tells else None,
        subscription=subscription.name if subscription else None,
        channel=subscription.channel if subscription else None,
        **{name: getattr(row, name) for name in names},
    )
