"""What happened to a message."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from messagebroker.client.answers import Message
from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, get, under

MESSAGES = "/api/v1/messages"


class SenderCertificate(Struct, frozen=True, kw_only=True):
    """What the sender showed; all but the serial are None when the CA does not know it."""

    serial: str
    name: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked_at: datetime | None = None


class DeliveryState(Struct, frozen=True, kw_only=True):
    """Where a delivery is now. `due_at`: its next attempt, or the end of the lease."""

    subscription_id: int
    status: str
    attempts: int
    subscription: str | None = None
    channel: str | None = None
    due_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened; `kind` says what, the rest is what belongs to that."""

    at: datetime
    kind: str
    who: str | None = None
    subscription_id: int | None = None
    subscription: str | None = None
    number: int | None = None
    duration_ms: int | None = None
    outcome: str | None = None
    code: int | None = None
    error: str | None = None
    details: dict[str, Any] | None = None


class Timeline(Struct, frozen=True, kw_only=True):
    """`is_whole` False: there were more attempts or actions than are shown."""

    message: Message
    deliveries: list[DeliveryState]
    events: list[Event]
    is_whole: bool
    certificate: SenderCertificate | None = None


def timeline(caller: Caller, message_id: str) -> Call[Timeline]:
    """Everything that is known of it, in the order of time."""
    return get(caller, under(MESSAGES, message_id, "timeline"), _TIMELINE)


class TimelineMethods:
    """Of the clients."""

    message_timeline = Method(timeline)


_TIMELINE = reader(Timeline)
