"""A delivery in the hands of this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from messagebroker.db.models import PRIORITIES
from messagebroker.ops.channels.channel import Work
from messagebroker.ops.clock import from_micros
from messagebroker.ops.deliveries.claimed import Claimed, Pair
from messagebroker.ops.deliveries.claiming import LAST_CHANCE
from messagebroker.ops.deliveries.opening import Payloads
from messagebroker.ops.deliveries.routing import LEASE_SECONDS, Born
from messagebroker.ops.deliveries.subscribed import Subscribed
from messagebroker.ops.records import SealedKey

LONGEST_ATTEMPT = 70.0
"""Seconds; channels end theirs earlier, by themselves."""

BEGIN_SECONDS = LEASE_SECONDS - LONGEST_ATTEMPT - 5.0
"""Of a lease, for waiting until there is room; what is left is for the attempt, and for writing down how it went."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """Sealed, as it waits for its attempt."""

    message_id: bytes
    subscribed: Subscribed
    client: str
    topic: str
    priority: int
    created_at: datetime
    attempt: int
    sealed: bytes
    key: SealedKey
    correlation_id: str | None
    traceparent: str | None
    begin_by: float  # on the monotonic clock: later the attempt might outlast the lease
    is_last_chance: bool = False  # it may be what ended the workers that held it

    @property
    def pair(self) -> Pair:
        """The delivery."""
        return self.message_id, self.subscribed.id

    def work(self, payloads: Payloads) -> Work:
        """As channels take it.

        Raises:
            Damaged: the message does not open.
        """
        return Work(
            message_id=self.message_id,
            client=self.client,
            topic=self.topic,
            priority=PRIORITIES[self.priority],
            created_at=self.created_at,
            attempt=self.attempt,
            payload=payloads.open(self.message_id, self.client, self.sealed, self.key),
            target=self.subscribed.target,
            correlation_id=self.correlation_id,
            traceparent=self.traceparent,
        )


def of_born(born: Born, keys: Mapping[bytes, SealedKey]) -> Item:
    """What was claimed when it was written."""
    record = born.record
    return Item(
        message_id=record.id,
        subscribed=born.subscribed,
        client=record.client,
        topic=record.topic,
        priority=record.priority,
        created_at=from_micros(record.accepted_at),
        attempt=1,
        sealed=record.sealed,
        key=keys[record.data_key_id],
        correlation_id=record.correlation_id,
        traceparent=record.traceparent,
        begin_by=born.at + BEGIN_SECONDS,
    )


def of_claimed(claimed: Claimed, subscribed: Subscribed, at: float) -> Item:
    """What was claimed from the table; `at`: not later than its lease began."""
    return Item(
        message_id=claimed.message_id,
        subscribed=subscribed,
        client=claimed.client,
        topic=claimed.topic,
        priority=claimed.priority,
        created_at=claimed.created_at,
        attempt=claimed.attempts + 1,
        sealed=claimed.sealed,
        key=claimed.key,
        correlation_id=claimed.correlation_id,
        traceparent=claimed.traceparent,
        begin_by=at + BEGIN_SECONDS,
        is_last_chance=claimed.crashes >= LAST_CHANCE,
    )
