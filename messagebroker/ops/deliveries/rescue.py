"""Deliveries whose worker is gone: they go to another one, but not for ever, for it may be they who end workers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from messagebroker.db.models import FRESH, Delivery, DeliveryAttempt, Heartbeat, Subscription
from messagebroker.db.writing import kept_connection, time_now, writing
from messagebroker.ops import metrics
from messagebroker.ops.changes import locked
from messagebroker.ops.deliveries.claimed import Pair, among
from messagebroker.ops.deliveries.claiming import CRASH_LIMIT, LIMIT
from messagebroker.ops.deliveries.following import follow
from messagebroker.ops.due import database_now, lock_messages
from messagebroker.ops.fingerprints import fingerprint

_ERROR = "the worker ended before the answer came"
_POISON = f"{CRASH_LIMIT} workers ended with it in their hands"


def rescue() -> int:
    """Takes back what is held by workers that are gone, or beyond its lease; how many deliveries.

    Raises:
        Unavailable: the database does not answer.
    """
    found = _lost()
    if not found:
        return 0
    with writing():
        lock_messages({message for message, _ in found})
        now = database_now()
        rows = _still_lost(found)
        for row in rows:
            _take_back(row, now)
        if rows:
            _note(rows, now)
            follow({bytes(row.message_id) for row in rows})
    metrics.DELIVERIES_RESCUED.inc(len(rows))
    return len(rows)


def _lost() -> dict[Pair, bytes | None]:
    """Keys, and who held them. Only what is in somebody's hands is looked at, by its index."""
    with kept_connection():
        alive = Heartbeat.select(Heartbeat.instance).where(Heartbeat.seen_at > database_now() - FRESH)
        holders = [bytes.fromhex(row.instance) for row in alive]
        is_lost = Delivery.due_at <= time_now()
        if holders:  # without any, this process could not have written its own
            is_lost |= Delivery.holder.not_in(holders)
        pulled = Subscription.select(Subscription.id).where(Subscription.channel == "pull")  # their leases are clients'
        held = (Delivery.status == "processing") & is_lost & Delivery.subscription_id.not_in(pulled)
        rows: Any = Delivery.select(Delivery.message, Delivery.subscription_id, Delivery.holder).where(held).limit(LIMIT)
        return {(bytes(message), number): holder and bytes(holder) for message, number, holder in rows.tuples()}


def _still_lost(found: dict[Pair, bytes | None]) -> list[Delivery]:
    """Somebody else may have been faster: then the holder has changed. Locked: holders give back without a message's lock."""
    rows = locked(Delivery.select().where(among(found), Delivery.status == "processing"))
    return [row for row in rows if found[bytes(row.message_id), row.subscription_id] == (row.holder and bytes(row.holder))]


def _take_back(row: Delivery, now: datetime) -> None:
    fields: dict[str, Any] = {"crashes": row.crashes + 1, "holder": None}
    if row.crashes + 1 >= CRASH_LIMIT:
        mark = fingerprint("worker", None, _POISON)
        fields |= {"status": "failed", "due_at": None, "ended_at": now, "error": _POISON, "fingerprint": mark, "move_id": None}
    else:
        fields |= {"status": "pending", "due_at": now}
    Delivery.update(**fields).where(among([(bytes(row.message_id), row.subscription_id)])).execute()


def _note(rows: list[Delivery], now: datetime) -> None:
    """In the history: attempts of which nobody knows how they ended."""
    DeliveryAttempt.insert_many(
        [
            {
                "message": bytes(row.message_id),
                "subscription_id": row.subscription_id,
                "number": row.attempts + 1,
                "started_at": now,
                "duration_ms": 0,
                "outcome": "retry" if row.crashes + 1 < CRASH_LIMIT else "failed",
                "error": _ERROR if row.crashes + 1 < CRASH_LIMIT else _POISON,
            }
            for row in rows
        ]
    ).execute()
