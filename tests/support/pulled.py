"""Messages that wait to be pulled, put into the tables as ingest does."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from support.cast import Shelf

from messagebroker.db.models import PRIORITIES, Delivery, Message, Subscription
from messagebroker.db.writing import time_now
from messagebroker.ops import clock, ids
from messagebroker.settings import Settings

LONG_AGO = timedelta(hours=1)


def subscribe(client: str = "owner", *, config: str = "{}", **changes: Any) -> int:
    """A pull subscription; its number."""
    now = clock.now()
    row: dict[str, Any] = {
        "name": f"{client} pulls", "channel": "pull", "topics": '["*"]', "client": client, "config": config,
        "created_at": now, "changed_at": now, **changes,
    }  # fmt: skip
    return int(Subscription.insert(**row).execute())


class Pulled:
    """Of one installation."""

    def __init__(self, settings: Settings) -> None:
        self._shelf = Shelf(settings)

    def put(self, subscription: int, body: str | bytes = "hello", *, key: str | None = None, **changes: Any) -> str:
        """A message that waits; those that are put later are due later, and have higher ids."""
        delivery = {name: changes.pop(name) for name in ("due_at", "attempts") if name in changes}
        priority = PRIORITIES.index(changes.pop("priority", "normal"))
        message_id = self._shelf.put(body, status="pending", routed=1, priority=priority, **changes)
        Delivery.insert(
            message=ids.parse(message_id), subscription_id=subscription, priority=priority, status="pending",
            order_key=hashlib.blake2b(key.encode(), digest_size=16).digest() if key else None,
            created_at=clock.now(), **{"due_at": clock.now() - LONG_AGO, **delivery},
        ).execute()  # fmt: skip
        return message_id


def delivery(message_id: str) -> Delivery:
    row: Delivery = Delivery.get(Delivery.message == ids.parse(message_id))
    return row


def status_of(message_id: str) -> tuple[str, str]:
    """Of the message and of its delivery."""
    return Message.get_by_id(ids.parse(message_id)).status, delivery(message_id).status


def run_out(*message_ids: str) -> None:
    """Their leases end."""
    parsed = [ids.parse(one) for one in message_ids]
    Delivery.update(due_at=time_now()).where(Delivery.message << parsed).execute()
