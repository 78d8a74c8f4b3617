"""How many deliveries wait, run, are late or have failed: from an index alone, and not counted anew for everybody who asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from messagebroker.db.connection import connected, database
from messagebroker.db.hints import by_index
from messagebroker.db.models import PRIORITIES, Delivery, IngestFailure, Message, Subscription
from messagebroker.db.writing import time_now
from messagebroker.ops import due
from messagebroker.ops.breaker_state import HALF_OPEN, OPEN
from messagebroker.ops.channels import CHANNELS

KEPT_SECONDS = 2.0
_SHARE = 20
"""A count that takes long is kept for so many times as long: counting never takes more than a twentieth of the time."""

_PULLED = {entry.name for entry in CHANNELS.values() if entry.place is None}

INDEX = "deliveries_status_priority_subscription_id_due_at"


@dataclass(frozen=True, kw_only=True)
class DeliveryCount:
    """Of one queue, or of one channel."""

    waiting: int = 0  # pending and due
    delayed: int = 0  # pending for later: scheduled, or between two attempts
    running: int = 0
    stuck: int = 0  # running, past the end of their lease
    failed: int = 0  # dead letters
    overdue_seconds: float = 0.0  # since when the one that waits longest could have begun
    ready_seconds: float = 0.0  # the same of those that wait for workers alone: not for a client that pulls, nor for a breaker


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Everything that is counted in the database, at one moment."""

    deliveries: dict[str, DeliveryCount] = field(default_factory=dict)  # by queue
    channels: dict[str, DeliveryCount] = field(default_factory=dict)  # the same deliveries, by channel
    scheduled: int = 0  # messages before their time; their deliveries are among the delayed
    ingest_failures: int = 0


def count() -> Counted:
    """As it is now.

    Raises:
        Unavailable: the database does not answer.
    """
    with connected():
        queues, channels = _deliveries()
        return Counted(
            deliveries=queues,
            channels=channels,
            scheduled=int(Message.select().where(Message.status == "scheduled").count()),
            ingest_failures=int(IngestFailure.select().count()),
        )


def statement() -> str:
    """The names in it are the program's own."""
    return (
        f"SELECT status, priority, subscription_id, COUNT(*), SUM(due_at <= {time_now().sql}), MIN(due_at)"  # nosec B608 # noqa: S608
        f" FROM deliveries{by_index(INDEX)} WHERE status IN ('pending', 'processing', 'failed')"
        " GROUP BY status, priority, subscription_id"
    )


@dataclass(frozen=True)
class _Group:
    """Deliveries of a subscription that have a priority and a status."""

    status: str
    priority: int
    subscription_id: int
    number: int
    late: int  # whose time has come
    first: datetime | None  # when that of the first one comes


def _deliveries() -> tuple[dict[str, DeliveryCount], dict[str, DeliveryCount]]:
    """By queue, and by channel."""
    now = due.database_now()
    groups = [
        _Group(status, priority, subscription, int(number), int(late or 0), Delivery.due_at.python_value(first))
        for status, priority, subscription, number, late, first in database.execute_sql(statement()).fetchall()
    ]
    table = Subscription
    channel_of = {row.id: row.channel for row in table.select(table.id, table.channel)}  # an index has both
    held_back = {row.id for row in table.select(table.id).where(table.breaker.in_((OPEN, HALF_OPEN)))}
    held_back |= {number for number, channel in channel_of.items() if channel in _PULLED}
    by_queue: dict[str, list[_Group]] = {queue: [] for queue in PRIORITIES}
    by_channel: dict[str, list[_Group]] = {channel: [] for channel in CHANNELS}
    for group in groups:
        by_queue[PRIORITIES[group.priority]].append(group)
        if group.subscription_id in channel_of:  # else it went while this counted
            by_channel.setdefault(channel_of[group.subscription_id], []).append(group)  # also one of a newer version
    return (
        {queue: _count_of(own, now, held_back) for queue, own in by_queue.items()},
        {channel: _count_of(own, now, held_back) for channel, own in by_channel.items()},
    )


def _count_of(groups: Iterable[_Group], now: datetime, held_back: set[int]) -> DeliveryCount:
    of = {"pending": [0, 0], "processing": [0, 0], "failed": [0, 0]}
    overdue = ready = 0.0
    for group in groups:
        of[group.status][0] += group.number
        of[group.status][1] += group.late
        if group.status == "pending" and group.late and group.first:
            waited = round((now - group.first).total_seconds(), 3)
            overdue = max(overdue, waited)
            if group.subscription_id not in held_back:
                ready = max(ready, waited)
    (pending, waiting), (running, stuck), (failed, _) = of.values()
    return DeliveryCount(
        waiting=waiting,
        delayed=pending - waiting,
        running=running,
        stuck=stuck,
        failed=failed,
        overdue_seconds=overdue,
        ready_seconds=ready,
    )


class Counter:
    """Remembers the last count for a while. For all threads; while one counts, others get the one before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: Counted | None = None
        self._good_until = float("-inf")

    def look(self) -> Counted:
        """At most a few seconds old; raises as `count`."""
        last = self._last
        if last is not None and (time.monotonic() < self._good_until or self._lock.locked()):
            return last
        with self._lock:
            if self._last is not None and time.monotonic() < self._good_until:  # somebody else was faster
                return self._last
            began = time.monotonic()
            found = self._last = count()
            ended = time.monotonic()
            self._good_until = ended + max(KEPT_SECONDS, _SHARE * (ended - began))
            return found
