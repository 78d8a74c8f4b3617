"""Work for channels."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from messagebroker.ops import ids
from messagebroker.ops.channels.channel import Target, Work
from messagebroker.ops.records import Payload

ACCEPTED = datetime(2026, 3, 1, 9, 7, 15, tzinfo=UTC)


def target(config: Any, *, id: int = 7, name: str = "billing", secrets: Any = None) -> Target:
    return Target(id=id, name=name, config=config, secrets=secrets)


def work(to: Target, body: str | bytes = "hello", **changes: Any) -> Work:
    payload = Payload(
        body, changes.pop("sender", "+491511"), changes.pop("metadata", {"colour": "red"}), changes.pop("content_type", None)
    )
    fields: dict[str, Any] = {
        "message_id": ids.new(), "client": "acme", "topic": "orders.created", "priority": "normal", "created_at": ACCEPTED,
        "attempt": 1, **changes,
    }  # fmt: skip
    return Work(payload=payload, target=to, **fields)
