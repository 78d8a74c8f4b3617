"""Messages that clients take by themselves: whose subscription it is, what is there, and taking it with a lease."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog

from messagebroker.db.connection import connected, database
from messagebroker.db.hints import by_index
from messagebroker.db.models import PRIORITIES, Subscription
from messagebroker.db.writing import time_now
from messagebroker.errors import Conflict, Damaged, NotFound
from messagebroker.ops import clock, ids, leases, steering
from messagebroker.ops.channels.channel import Outcome
from messagebroker.ops.channels.pull_config import PullConfig
from messagebroker.ops.deliveries.choosing import BY_DUE, claim_for
from messagebroker.ops.deliveries.claimed import Claimed
from messagebroker.ops.deliveries.ending import Result, end
from messagebroker.ops.deliveries.opening import Payloads
from messagebroker.ops.due import database_now
from messagebroker.ops.leases import Lease
from messagebroker.ops.records import Payload

CHANNEL = "pull"
MOST_BYTES = 8 * 1024 * 1024
"""Of bodies in one answer; a single one may be larger."""

_log = structlog.get_logger("messagebroker.pulls")


class Disabled(Conflict):
    """The subscription is not in force just now."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A client's own subscription."""

    id: int
    ordered: bool
    config: PullConfig
    disabled_why: str | None  # None: it is in force

    @property
    def schedule(self) -> tuple[float, ...]:
        """As other channels have it: so many attempts, each at once when somebody asks."""
        return (0.0,) * self.config.max_attempts


class Taken(msgspec.Struct, kw_only=True):
    """A message, the client's own until `lease_until`. A binary body is in `body_base64`, and `body` is null."""

    lease_id: str
    lease_until: datetime
    attempt: int
    message_id: str
    topic: str
    client: str
    priority: str
    created_at: datetime
    body: str | None
    body_base64: bytes | None
    sender: str | None
    metadata: dict[str, Any] | None
    content_type: str | None
    correlation_id: str | None
    traceparent: str | None


def find(subscription_id: int, client: str) -> Source:
    """The subscription, for the client that it names.

    Raises:
        NotFound: there is none of this number that this client may pull: nobody learns why.
    """
    with connected():
        row = Subscription.get_or_none(Subscription.id == subscription_id)
    if row is None or row.channel != CHANNEL or row.client != client or row.removed_at is not None:
        raise NotFound(f"there is no subscription {subscription_id} that this client pulls")
    return source_of(row)


def source_of(row: Subscription) -> Source:
    """A row, read."""
    config = msgspec.json.decode(row.config, type=PullConfig)
    why = None if row.disabled_at is None else f": {row.disabled_why}" if row.disabled_why else ""
    return Source(id=row.id, ordered=row.ordered_by is not None, config=config, disabled_why=why)


def with_due(subscription_ids: Collection[int]) -> list[int]:
    """Those of these subscriptions that have something to take: one look into the index for each priority of each.

    Raises:
        Unavailable: the database does not answer.
    """
    priorities = steering.running()
    if not subscription_ids or not priorities:
        return []
    listed = ",".join(str(int(number)) for number in sorted(subscription_ids))
    return first_due("pending", f"s.id IN ({listed}) AND s.removed_at IS NULL AND s.disabled_at IS NULL", priorities)


def first_due(status: str, condition: str, priorities: Sequence[int] = range(len(PRIORITIES))) -> list[int]:
    """Subscriptions `s` of which a delivery of this status has its time behind it. Both words are the program's own.

    Servers skip through the index from one subscription to the next: they read two entries of each, however many it has.
    """
    first = (
        f"SELECT subscription_id FROM deliveries{by_index(BY_DUE)} WHERE status = '{status}'"  # nosec B608 # noqa: S608
        f" AND priority IN ({','.join(map(str, priorities))})"
        f" GROUP BY status, priority, subscription_id HAVING MIN(due_at) <= {time_now().sql}"
    )
    with connected():
        found = sorted({int(number) for (number,) in database.execute_sql(first).fetchall()})
        if not found:
            return []
        listed = ",".join(map(str, found))
        sql = f"SELECT s.id FROM subscriptions s WHERE s.id IN ({listed}) AND {condition} ORDER BY s.id"  # nosec B608 # noqa: S608
        return [row[0] for row in database.execute_sql(sql).fetchall()]


def take(payloads: Payloads, subscription_id: int, client: str, *, limit: int, lease_seconds: float) -> list[Taken]:
    """Up to so many messages, the most urgent first, each the client's own until its lease ends.

    Raises:
        NotFound: this client pulls no such subscription.
        Disabled: the subscription is not in force.
        Unavailable: the database does not answer.
    """
    with connected():
        source = find(subscription_id, client)
        if source.disabled_why is not None:
            raise Disabled(f"subscription {subscription_id} is disabled{source.disabled_why}; ask the operator")
        holder = leases.new_holder(clock.now())
        until = database_now() + timedelta(seconds=lease_seconds)  # never later than the lease itself
        claimed = claim_for(
            source.id, limit, holder=holder, lease_seconds=lease_seconds, ordered=source.ordered, most_bytes=MOST_BYTES
        )
        return _opened(payloads, source, claimed, holder, until)


def _opened(payloads: Payloads, source: Source, claimed: Sequence[Claimed], holder: bytes, until: datetime) -> list[Taken]:
    found, damaged = [], []
    for one in claimed:
        try:
            found.append(_taken(one, payloads.open(one.message_id, one.client, one.sealed, one.key), holder, until))
        except Damaged as error:
            _log.error("a message cannot be pulled", subscription=source.id, error=str(error))
            damaged.append(result_of(source, Lease(one.message_id, holder), Outcome(kind="failed", error=str(error))))
    end(damaged)
    return found


def _taken(one: Claimed, payload: Payload, holder: bytes, until: datetime) -> Taken:
    is_text = isinstance(payload.body, str)
    return Taken(
        lease_id=Lease(one.message_id, holder).text,
        lease_until=until,
        attempt=one.attempts + 1,
        message_id=ids.text(one.message_id),
        topic=one.topic,
        client=one.client,
        priority=PRIORITIES[one.priority],
        created_at=one.created_at,
        body=payload.body if is_text else None,
        body_base64=None if is_text else payload.body,
        sender=payload.sender,
        metadata=payload.metadata,
        content_type=payload.content_type,
        correlation_id=one.correlation_id,
        traceparent=one.traceparent,
    )


def result_of(source: Source, lease: Lease, outcome: Outcome) -> Result:
    """The attempt that a lease was, at its end. It says nothing about a destination, so that it counts for none."""
    began = leases.began(lease.holder)
    return Result(
        message_id=lease.message_id,
        subscription_id=source.id,
        channel=CHANNEL,
        holder=lease.holder,
        outcome=outcome,
        started_at=began,
        duration_ms=max(0, round((clock.now() - began) / timedelta(milliseconds=1))),
        schedule=source.schedule,
        counts=False,
        keeps_holder=True,
    )
