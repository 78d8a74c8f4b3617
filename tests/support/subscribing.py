"""Subscriptions and stored messages for tests of deliveries, without the ways that people take to make them."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from messagebroker.db.models import Subscription
from messagebroker.ops import clock, ids
from messagebroker.ops.deliveries.opening import Payloads
from messagebroker.ops.deliveries.routing import Router
from messagebroker.ops.deliveries.subscribed import Subscriptions
from messagebroker.ops.keyring import KeyRing, create_master_key
from messagebroker.ops.records import Payload, Record, SealedKey, encode_payload
from messagebroker.ops.sealing import Sealer
from messagebroker.settings import Settings


class Office:
    """Master keys, a sealer, and what workers know."""

    def __init__(self, settings: Settings, hands: Any = None) -> None:
        create_master_key(settings)
        self.payloads = Payloads(settings)
        self.sealer = Sealer(self.payloads.ring.current_public, 300)
        self.subscriptions = Subscriptions(self.payloads.ring)
        self.router = Router(self.subscriptions, self.payloads, hands)

    @property
    def ring(self) -> KeyRing:
        return self.payloads.ring

    def record(self, body: str = "text", metadata: dict[str, Any] | None = None, **changes: Any) -> Record:
        """As a proxy makes it."""
        sealing = self.sealer.current()
        own = ids.new()
        client = changes.pop("client", "acme")
        sealed = sealing.seal(own, client.encode(), encode_payload(Payload(body, None, metadata)))
        given = {"topic": "orders.created", "priority": 2, "accepted_at": clock.micros(clock.now()), "size": len(body)}
        return Record(id=own, client=client, data_key_id=sealing.key.id, sealed=sealed, **{**given, **changes})

    @property
    def keys(self) -> dict[bytes, SealedKey]:
        key = self.sealer.current().key
        return {key.id: key}


def subscribe(topics: list[str] | None = None, *, channel: str = "webhook", config: Any = None, **fields: Any) -> int:
    """A row as `ops.subscriptions` writes it; its number."""
    now = clock.now()
    default: dict[str, Any] = {"webhook": {"url": "https://shop.example.org/hooks"}, "inbox": {"user": "ann@example.org"}}
    filters = fields.pop("filter", None)
    schedule = fields.pop("schedule", None)
    row = Subscription.create(
        name=f"test {os.urandom(3).hex()}",
        channel=channel,
        topics=msgspec.json.encode(topics or ["*"]).decode(),
        filter=None if filters is None else msgspec.json.encode(filters).decode(),
        schedule=None if schedule is None else msgspec.json.encode(schedule).decode(),
        config=msgspec.json.encode(config if config is not None else default.get(channel, {})).decode(),
        created_at=now,
        changed_at=now,
        **fields,
    )
    return int(row.id)
