"""Deliveries that somebody has in hand, with what their messages say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import peewee as pw

from messagebroker.db.connection import is_mysql
from messagebroker.db.models import DataKey, Delivery, Message
from messagebroker.ops import clock
from messagebroker.ops.records import SealedKey

Pair = tuple[bytes, int]
"""Message and subscription."""

_COLUMNS = tuple(
    getattr(Message, name)
    for name in (
        "id", "client_id", "topic", "priority", "created_at", "expires_at", "correlation_id", "traceparent", "data_key_id",
        "payload",
    )
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A delivery that is the caller's until its lease ends, with its message."""

    message_id: bytes
    subscription_id: int
    attempts: int
    crashes: int
    client: str
    topic: str
    priority: int
    created_at: datetime  # of the message
    correlation_id: str | None
    traceparent: str | None
    sealed: bytes
    key: SealedKey
    is_over: bool  # the message's time has passed


def among(pairs: Iterable[Pair]) -> Any:
    """The rows of these keys, in every table that has them: the first condition is the range of the primary key, the second
    picks from it.

    As one text each, which the server looks up in a sorted list. With a list of pairs in their place MariaDB compares, when it
    updates or deletes, each row with every one of them: half a second for 500.
    """
    listed = sorted(pairs)
    if not listed:
        return pw.SQL("1 = 0")
    messages = ",".join(sorted({f"X'{message.hex()}'" for message, _ in listed}))
    texts = ",".join(f"'{message.hex().upper()}.{subscription:d}'" for message, subscription in listed)
    both = "CONCAT(HEX(message_id), '.', subscription_id)" if is_mysql() else "HEX(message_id) || '.' || subscription_id"
    return pw.SQL(f"(message_id IN ({messages}) AND {both} IN ({texts}))")


def held_by(holder: bytes, pairs: Sequence[Pair], now: datetime) -> list[Claimed]:
    """Those of these deliveries that are in the hands of a holder, with their messages. For callers with a connection."""
    held = (Delivery.holder == holder) & (Delivery.status == "processing")
    columns = (Delivery.message, Delivery.subscription_id, Delivery.attempts, Delivery.crashes)
    rows: Any = list(Delivery.select(*columns).where(among(pairs) & held).tuples())
    messages = _messages({bytes(row[0]) for row in rows})
    keys = keys_of({bytes(message["data_key_id"]) for message in messages.values()})
    claimed = []
    for message_id, subscription, attempts, crashes in rows:
        message = messages[bytes(message_id)]
        key_id, expires_at = bytes(message["data_key_id"]), message["expires_at"]
        claimed.append(
            Claimed(
                message_id=bytes(message_id),
                subscription_id=subscription,
                attempts=attempts,
                crashes=crashes,
                client=message["client_id"],
                topic=message["topic"],
                priority=message["priority"],
                created_at=message["created_at"],
                correlation_id=message["correlation_id"],
                traceparent=message["traceparent"],
                sealed=bytes(message["payload"]),
                key=keys.get(key_id) or _missing(key_id),
                is_over=expires_at is not None and expires_at <= now,
            )
        )
    return claimed


def _missing(data_key_id: bytes) -> SealedKey:
    """In the place of one that is gone: the message does not open, which is its own end and nobody else's."""
    return SealedKey(data_key_id, bytes(8), b"", 0)


def _messages(wanted: Iterable[bytes]) -> Mapping[bytes, dict[str, Any]]:
    listed = sorted(wanted)
    rows: Any = Message.select(*_COLUMNS).where(Message.id << listed).dicts() if listed else ()
    return {bytes(row["id"]): row for row in rows}


def keys_of(wanted: Iterable[bytes]) -> dict[bytes, SealedKey]:
    """Data keys, as they are stored. For callers with a connection."""
    listed = sorted(wanted)
    rows = DataKey.select().where(DataKey.id << listed) if listed else ()
    return {
        bytes(row.id): SealedKey(bytes(row.id), bytes(row.master_key_id), bytes(row.sealed), clock.micros(row.created_at))
        for row in rows
    }
