"""Which subscriptions a message is for: asked when it is stored, answered with the rows of its deliveries."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from messagebroker.db.bulk import insert, literals
from messagebroker.db.models import Delivery
from messagebroker.errors import Damaged
from messagebroker.ops.channels import CHANNELS
from messagebroker.ops.deliveries.opening import Payloads, holds
from messagebroker.ops.deliveries.subscribed import FRESH_SECONDS, Subscribed, Subscriptions
from messagebroker.ops.keyring import KeyRing
from messagebroker.ops.records import Record, SealedKey
from messagebroker.settings import Settings

LEASE_SECONDS = 90
"""Of a delivery in a worker's hands: longer than the longest time-out of an endpoint, and the time to write it down."""

_COLUMNS = (
    "message_id",
    "subscription_id",
    "priority",
    "status",
    "due_at",
    "holder",
    "order_key",
    "created_at",
    "attempts",
    "crashes",
)
_log = structlog.get_logger("messagebroker.routing")


class Hands(Protocol):
    """Who can deliver at once in this process."""

    holder: bytes

    def reserve(self, subscribed: Subscribed, priority: int) -> bool:
        """Whether there is room for one more delivery of it now; if so it is taken."""

    def give_back(self, subscription_id: int) -> None:
        """What was reserved is not needed after all."""

    def take(self, born: list[Born], keys: Mapping[bytes, SealedKey]) -> None:
        """Delivers what was reserved: it is stored by now."""


@dataclass(frozen=True)
class Born:
    """A delivery that was claimed when it was written."""

    record: Record
    subscribed: Subscribed
    at: float = field(default_factory=time.monotonic)


@dataclass
class Routes:
    """Of the records of one transaction."""

    rows: list[str] = field(default_factory=list)
    born: list[Born] = field(default_factory=list)


class Router:
    """Finds subscriptions for records, and has their first attempts made in this process where there is room.

    `hands` None: every delivery waits for a worker's poller.
    """

    def __init__(self, subscriptions: Subscriptions, payloads: Payloads, hands: Hands | None = None) -> None:
        self._subscriptions = subscriptions
        self._payloads = payloads
        self._hands = hands

    def refresh(self, *, older_than: float = FRESH_SECONDS) -> None:
        """Before a transaction: what has changed lately.

        Raises:
            Unavailable: the database does not answer.
        """
        self._subscriptions.refresh(older_than=older_than)

    def subscribed(self, number: int) -> Subscribed | None:
        """One that is enabled, as it was at the last `refresh`."""
        return self._subscriptions.current.get(number)

    def wanting(self, topic: str, priority: int) -> tuple[Subscribed, ...]:
        """Subscriptions that messages of this topic and priority may be for."""
        return self._subscriptions.wanting(topic, priority)

    def status_without(self, topic: str) -> str:
        """Of a message that nobody subscribed to."""
        return "failed" if topic in self._subscriptions.must_route else "delivered"

    def route(
        self, routes: Routes, record: Record, wanting: tuple[Subscribed, ...], keys: Mapping[bytes, SealedKey], moment: int
    ) -> int:
        """Adds the record's deliveries to the routes; how many they are.

        Args:
            routes: of the transaction.
            record: open: neither expired nor anything else that is final.
            wanting: what `wanting` found for it.
            keys: at least its data key.
            moment: of the transaction, in microseconds.
        """
        chosen = [one for one in wanting if self.concerns(record, one, keys)]
        for one in chosen:
            self.add(routes, record, one, moment)
        return len(chosen)

    def concerns(self, record: Record, one: Subscribed, keys: Mapping[bytes, SealedKey]) -> bool:
        """Whether a record on a wanted topic is for the subscription: its filter on metadata decides."""
        return one.metadata is None or self._has(record, one.metadata, keys)

    def add(self, routes: Routes, record: Record, one: Subscribed, moment: int) -> None:
        """One delivery, `moment` as for `route`."""
        routes.rows.append(self._row(routes, record, one, moment))

    def _row(self, routes: Routes, record: Record, one: Subscribed, moment: int) -> str:
        instant = literals().moment
        due = record.deliver_at if record.deliver_at is not None and record.deliver_at > moment else None
        claimed = False
        first = due
        if one.is_usable:
            begin = moment if due is None else due
            first = CHANNELS[one.channel].first_due(one.target.config, begin)
            if first is None:
                first = begin + int(one.schedule[0] * 1_000_000) if one.schedule[0] else due
            claimed = first is None and self._hands is not None and self._hands.reserve(one, record.priority)
        if claimed:
            assert self._hands is not None
            routes.born.append(Born(record, one))
            state = f"'processing',{instant(moment + LEASE_SECONDS * 1_000_000)},X'{self._hands.holder.hex()}'"
        else:
            state = f"'pending',{instant(moment if first is None else first)},NULL"
        key = _order_key(record, one.ordered_by)
        order = "NULL" if key is None else f"X'{key.hex()}'"
        return f"(X'{record.id.hex()}',{one.id:d},{record.priority:d},{state},{order},{instant(moment)},0,0)"

    def _has(self, record: Record, wanted: Mapping[str, object], keys: Mapping[bytes, SealedKey]) -> bool:
        try:
            payload = self._payloads.open(record.id, record.client, record.sealed, keys[record.data_key_id])
        except Damaged as error:
            _log.error("a message's metadata cannot be read, so that no filter lets it pass", error=str(error))
            return False
        return holds(payload.metadata, wanted)

    def write(self, routes: Routes) -> None:
        """Inside the transaction, after the messages."""
        if routes.rows:
            insert(Delivery, _COLUMNS, routes.rows)

    def committed(self, routes: Routes, keys: Mapping[bytes, SealedKey]) -> None:
        """After the transaction: what was claimed is delivered."""
        if routes.born and self._hands is not None:
            self._hands.take(routes.born, keys)

    def rolled_back(self, routes: Routes) -> None:
        """Nothing of it was stored, or nobody knows: what was claimed is left to its lease."""
        if self._hands is not None:
            for born in routes.born:
                self._hands.give_back(born.subscribed.id)


def router_of(settings: Settings) -> Router:
    """For processes that store a message now and then, and deliver none.

    Raises:
        ConfigurationError: the private master keys are not on this machine.
    """
    payloads = Payloads(settings)
    return Router(Subscriptions(payloads.ring, lambda: KeyRing.load(settings)), payloads)


def _order_key(record: Record, ordered_by: str | None) -> bytes | None:
    """What is to be delivered in order has the same key; without the value that orders it, nothing is."""
    if ordered_by is None:
        return None
    values = {
        "correlation_id": record.correlation_id,
        "sender": record.sender_hash.hex() if record.sender_hash else None,
        "topic": record.topic,
        "client": record.client,
    }
    value = values[ordered_by]
    return None if value is None else hashlib.blake2b(value.encode(), digest_size=16).digest()
