"""What workers know of subscriptions: the table in memory, compared with it every second."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import structlog

from messagebroker.db.models import PRIORITIES, Subscription
from messagebroker.db.writing import kept_connection
from messagebroker.errors import BrokerError, Damaged
from messagebroker.ops import topics
from messagebroker.ops.channels import CHANNELS
from messagebroker.ops.channels.channel import Target
from messagebroker.ops.keyring import KeyRing
from messagebroker.ops.patterns import compiled
from messagebroker.ops.subscription_secrets import opened

DEFAULT_SCHEDULE = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 36000.0)
"""Seconds before each attempt, the first one included."""

FRESH_SECONDS = 1.0
_MOST_TOPICS = 10_000
_log = structlog.get_logger("messagebroker.subscriptions")


@dataclass(frozen=True, kw_only=True)
class Subscribed:
    """One subscription, ready for use."""

    target: Target
    channel: str
    topics: re.Pattern[str]
    priorities: frozenset[int]
    metadata: Mapping[str, Any] | None  # all of it must be there
    schedule: tuple[float, ...]
    ordered_by: str | None
    is_usable: bool = True  # False: its messages wait until a program can deliver them, perhaps another worker

    @property
    def id(self) -> int:
        """Its number."""
        return self.target.id

    def wants(self, topic: str, priority: int) -> bool:
        """Whether messages of this topic and priority are for it, as far as these two tell."""
        return priority in self.priorities and self.topics.fullmatch(topic) is not None


class Subscriptions:
    """Of one process. `current` is replaced as a whole, so that readers need no lock."""

    def __init__(self, ring: KeyRing, reload: Callable[[], KeyRing] | None = None) -> None:
        """`reload`: the master keys as they are now; some may be newer than this process."""
        self._ring = ring
        self._reload = reload
        self._told: dict[int, Any] = {}  # the stamps of those that cannot be used and were reported
        self._lock = threading.Lock()
        self._stamps: dict[int, Any] = {}
        self._looked_at = float("-inf")
        self.current: dict[int, Subscribed] = {}
        self.channels: frozenset[str] = frozenset()  # of the usable ones
        self.must_route: frozenset[str] = frozenset()
        self._wanted: dict[tuple[str, int], tuple[Subscribed, ...]] = {}

    def wanting(self, topic: str, priority: int) -> tuple[Subscribed, ...]:
        """The subscriptions that this topic and priority are for, but for their metadata."""
        wanted = self._wanted
        found = wanted.get((topic, priority))
        if found is None:
            found = tuple(one for one in self.current.values() if one.wants(topic, priority))
            if len(wanted) >= _MOST_TOPICS:  # a sender who makes up topics must not keep those of others out
                wanted.clear()
            wanted[topic, priority] = found
        return found

    def refresh(self, *, older_than: float = FRESH_SECONDS) -> None:
        """Reads what has changed, when that was last looked at long enough ago.

        Raises:
            Unavailable: the database does not answer; what was known stays.
        """
        with self._lock:
            if time.monotonic() - self._looked_at < older_than:
                return
            with kept_connection():
                self._read()
            self._looked_at = time.monotonic()

    def _read(self) -> None:
        alive = Subscription.select(Subscription.id, Subscription.changed_at).where(
            Subscription.removed_at.is_null(), Subscription.disabled_at.is_null()
        )
        rows: Any = alive.tuples()
        stamps = dict(rows)
        self.must_route = topics.must_route_topics()
        if stamps == self._stamps:
            return
        changed = [number for number, stamp in stamps.items() if self._stamps.get(number) != stamp]
        now = {number: one for number, one in self.current.items() if number in stamps and number not in changed}
        for row in Subscription.select().where(Subscription.id.in_(changed)) if changed else ():
            try:
                now[row.id] = self._subscribed(row)
            except Exception as error:  # noqa: BLE001 - one row that nobody can read stops neither storing nor deliveries
                stamps.pop(row.id)
                self._tell(row, error)
            else:
                if not now[row.id].is_usable:
                    stamps.pop(row.id)  # looked at again: what is missing may come
        self.current, self._wanted, self._stamps = now, {}, stamps
        self.channels = frozenset(one.channel for one in now.values() if one.is_usable)

    def _subscribed(self, row: Subscription) -> Subscribed:
        """With keys that are newer than this process, where it needs them. What is stored meanwhile must not pass it by,
        so that one which cannot be delivered here gets its messages all the same."""
        try:
            try:
                return subscribed(row, self._ring)
            except Damaged:
                if self._reload is None:
                    raise
                self._ring = self._reload()
                return subscribed(row, self._ring)
        except (BrokerError, msgspec.MsgspecError, KeyError) as error:
            self._tell(row, error)
            return unusable(row)

    def _tell(self, row: Subscription, error: Exception) -> None:
        if self._told.get(row.id) != row.changed_at:
            self._told[row.id] = row.changed_at
            _log.error("a subscription cannot be used; its messages wait", subscription=row.id, error=str(error))


def subscribed(row: Subscription, ring: KeyRing) -> Subscribed:
    """A row, read.

    Raises:
        BrokerError, msgspec.MsgspecError, KeyError: it is damaged, or of a channel that this program does not have.
    """
    entry = CHANNELS[row.channel]
    config = msgspec.json.decode(row.config, type=entry.config)
    return _made(row, Target(id=row.id, name=row.name, config=config, secrets=opened(row, ring)))


def unusable(row: Subscription) -> Subscribed:
    """What tells which messages are for it, and no more."""
    return replace(_made(row, Target(id=row.id, name=row.name, config=None, secrets=None)), is_usable=False)


def _made(row: Subscription, target: Target) -> Subscribed:
    patterns = msgspec.json.decode(row.topics, type=list[str])
    chosen = msgspec.json.decode(row.filter) if row.filter else {}
    names = chosen.get("priorities") or PRIORITIES
    return Subscribed(
        target=target,
        channel=row.channel,
        topics=re.compile("|".join(f"(?:{compiled(pattern).pattern})" for pattern in patterns)),
        priorities=frozenset(PRIORITIES.index(name) for name in names),
        metadata=chosen.get("metadata") or None,
        schedule=tuple(msgspec.json.decode(row.schedule, type=list[float])) if row.schedule else DEFAULT_SCHEDULE,
        ordered_by=row.ordered_by,
    )
