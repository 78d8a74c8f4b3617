"""Deliveries whose subscription was removed or disabled: they end, and say why."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from messagebroker.db.models import Delivery, Subscription
from messagebroker.db.writing import kept_connection, time_now, writing
from messagebroker.ops.deliveries.claiming import LIMIT
from messagebroker.ops.deliveries.following import follow
from messagebroker.ops.due import database_now, lock_messages
from messagebroker.ops.fingerprints import fingerprint

_DISABLED = "its subscription was disabled"
_REMOVED = "the subscription was removed"


def end(subscription_ids: Collection[int]) -> int:
    """Ends what is due of subscriptions that are not in force: those of removed ones are cancelled, those of disabled
    ones are dead letters. At most LIMIT of each; how many.

    Raises:
        Unavailable: the database does not answer.
    """
    with kept_connection():
        rows = list(Subscription.select().where(Subscription.id << sorted(set(subscription_ids))))
    removed = [row.id for row in rows if row.removed_at is not None]
    removed += sorted(set(subscription_ids) - {row.id for row in rows})
    disabled = [row for row in rows if row.removed_at is None and row.disabled_at is not None]
    ended = sum(_end(number, {"status": "cancelled", "error": _REMOVED}) for number in removed)
    for row in disabled:
        error = f"{_DISABLED}: {row.disabled_why}"[:500] if row.disabled_why else _DISABLED
        mark = fingerprint(row.channel, None, _DISABLED)
        ended += _end(row.id, {"status": "failed", "error": error, "fingerprint": mark, "move_id": None})
    return ended


def _end(subscription_id: int, fields: dict[str, Any]) -> int:
    condition = (Delivery.subscription_id == subscription_id) & (Delivery.status == "pending") & (Delivery.due_at <= time_now())
    with kept_connection():
        rows: Any = Delivery.select(Delivery.message).where(condition).limit(LIMIT).tuples()
        found = sorted(bytes(row[0]) for row in rows)
    if not found:
        return 0
    with writing():
        lock_messages(found)
        change = Delivery.update(**fields, due_at=None, ended_at=database_now()).where(condition, Delivery.message << found)
        number = int(change.execute())
        follow(found)
    return number
