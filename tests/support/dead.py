"""Dead letters of two subscriptions, as deliveries that failed leave them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from messagebroker.db import models
from messagebroker.ops import clock, ids
from messagebroker.ops.fingerprints import fingerprint

NOW = clock.now() - timedelta(minutes=30)
DOWN, REFUSED = (fingerprint("webhook", None, text) for text in ("no answer", "connection refused"))
_AT_ONCE = 800


def subscription(name: str, **changes: Any) -> int:
    made: Any = models.Subscription.insert(
        **{"name": name, "channel": "webhook", "topics": "[]", "config": "{}", "created_at": NOW, "changed_at": NOW, **changes}
    )
    return int(made.execute())


def message_rows(count: int, *, at: datetime = NOW, **changes: Any) -> list[dict[str, Any]]:
    """Each a millisecond later than the one before."""
    moments = [at + timedelta(milliseconds=number) for number in range(count)]
    return [
        {
            "id": ids.floor(moment)[:9] + number.to_bytes(3, "big") + ids.new()[12:], "client_id": "acme", "topic": "orders",
            "priority": 2, "status": "failed", "created_at": moment, "stored_at": moment, "routed": 1, "attempts": 8,
            "size": 5, "data_key_id": bytes(16), "payload": b"x", **changes,
        }
        for number, moment in enumerate(moments)
    ]  # fmt: skip


def delivery_row(message_id: bytes, number: int, mark: str | None = DOWN, **changes: Any) -> dict[str, Any]:
    return {
        "message": message_id, "subscription_id": number, "priority": 2, "status": "failed", "attempts": 8, "created_at": NOW,
        "ended_at": NOW + timedelta(minutes=5), "fingerprint": mark, "error": "no answer" if mark == DOWN else "refused",
        **changes,
    }  # fmt: skip


def put(model: Any, rows: list[dict[str, Any]]) -> None:
    for at in range(0, len(rows), _AT_ONCE):
        model.insert_many(rows[at : at + _AT_ONCE]).execute()


def fail(count: int, number: int, mark: str | None = DOWN, *, at: datetime = NOW, **changes: Any) -> list[bytes]:
    """So many new messages whose one delivery failed."""
    rows = message_rows(count, at=at)
    put(models.Message, rows)
    put(models.Delivery, [delivery_row(row["id"], number, mark, **changes) for row in rows])
    return [row["id"] for row in rows]


def statuses(model: Any = models.Delivery) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in model.select(model.status):
        found[row.status] = found.get(row.status, 0) + 1
    return found


def later(move: int, seconds: float = 3600) -> None:
    """As if so much time had passed for this move."""
    row = models.DeadLetterMove.get_by_id(move)
    span = timedelta(seconds=seconds)
    changes = {name: getattr(row, name) - span for name in ("next_at", "undo_until") if getattr(row, name) is not None}
    models.DeadLetterMove.update(**changes).where(models.DeadLetterMove.id == move).execute()
