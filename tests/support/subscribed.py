"""Subscriptions, and deliveries of messages to them in any state."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from support.cast import TEST, Shelf

from messagebroker.db.models import Delivery, DeliveryAttempt
from messagebroker.ops import clock, ids, subscriptions
from messagebroker.ops.subscriptions import Details
from messagebroker.settings import Settings

URL = "https://shop.example.org/hooks"


def webhook(settings: Settings, **changes: Any) -> Details:
    """A webhook of all orders."""
    given = {"name": "shop", "channel": "webhook", "topics": ["orders*"], "config": {"url": URL}, **changes}
    return subscriptions.create(settings, given, TEST).details


def delivery(shelf: Shelf, number: int, status: str = "failed", *, message: str | None = None, **changes: Any) -> str:
    """A message with one delivery in that state."""
    message = message or shelf.put(status="pending" if status in ("pending", "processing") else status, topic="orders")
    now = clock.now()
    row: dict[str, Any] = {
        "message": ids.parse(message), "subscription_id": number, "priority": 2, "status": status, "created_at": now,
        "attempts": 8 if status == "failed" else 0, "due_at": now if status in ("pending", "processing") else None,
        "fingerprint": "f" * 16 if status == "failed" else None, "error": "503" if status == "failed" else None, **changes,
    }  # fmt: skip
    Delivery.insert(**row).execute()
    return message


def attempt(message: str, number: int, outcome: str = "delivered", **changes: Any) -> int:
    """A row of the log; its id."""
    row: dict[str, Any] = {
        "message": ids.parse(message), "subscription_id": number, "number": 1, "outcome": outcome, "duration_ms": 12,
        "started_at": clock.now() - timedelta(seconds=1), "code": 204 if outcome == "delivered" else 503, **changes,
    }  # fmt: skip
    return int(DeliveryAttempt.insert(**row).execute())
