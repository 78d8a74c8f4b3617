"""What one worker process knows of all breakers, and how it comes to know what the others do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import redis as redis_py
import structlog

from messagebroker.ops.breaker_state import NOTHING, Entry, decoded, encoded
from messagebroker.ops.breaker_store import BreakerStore, Emptied

_TRIES = 5
_log = structlog.get_logger("messagebroker.breakers")


@dataclass(frozen=True)
class Known:
    """A breaker that is not as good as none."""

    entry: Entry
    due: float  # `entry.until` on this process' own clock, which nobody sets back
    since: float  # when this process learned of it


class BreakerMemory:
    """Readers need no lock; whoever calls the methods that change something holds the owner's. None raises for Redis."""

    def __init__(self, redis: redis_py.Redis, longest: float) -> None:
        """`longest`: seconds that an attempt is kept waiting, whatever somebody wrote into Redis."""
        self._longest = longest
        self.store = BreakerStore(redis)
        self.known: dict[int, Known] = {}
        self.is_away = True  # Redis, until the first look
        self.is_empty = False  # somebody is to tell what Redis has lost
        self._in_redis: dict[int, bytes] = {}  # as it was seen there last
        self._unshared: set[int] = set()  # changed while Redis was away
        self._unsure: dict[int, bytes] = {}  # sent to Redis, whose answer was lost
        self._told_away = False

    def entry(self, subscription_id: int) -> Entry:
        """NOTHING where nothing is known."""
        known = self.known.get(subscription_id)
        return known.entry if known else NOTHING

    def look(self) -> None:
        """Learns what others changed; what was changed here while Redis was away is told them."""
        try:
            news = self.store.look()
        except redis_py.RedisError as error:
            self._lost(error)
            return
        self.is_away = False
        self.is_empty |= news.is_empty
        if news.is_new:
            self._in_redis.clear()
            self._unshared.update(self.known)
        for subscription_id, data in news.changed.items():
            if self._unsure.get(subscription_id) == data:
                self._in_redis[subscription_id] = data  # our own, so nobody else's change
            elif data != self._in_redis.get(subscription_id, b"") or subscription_id in self._unshared:
                self._adopt(subscription_id, data)
        self._unsure.clear()
        for subscription_id in list(self._unshared):
            self._share(subscription_id)
        if self._told_away and not self.is_away:
            self._told_away = False
            _log.info("breakers are shared again: Redis answers")

    def change(self, subscription_id: int, step: Callable[[Entry], Entry]) -> tuple[Entry, Entry] | None:
        """Takes a step, in Redis when it is there: again when another process was faster. Before and after; None: no change."""
        for _ in range(_TRIES):
            before = self.entry(subscription_id)
            after = step(before)
            if after == before:
                return None
            if self.is_away:
                break
            try:
                present = self.store.swap(subscription_id, self._in_redis.get(subscription_id, b""), encoded(after))
            except Emptied:
                break  # the next look tells the others
            except redis_py.RedisError as error:
                self._unsure[subscription_id] = encoded(after)
                self._lost(error)
                break
            if present is None:
                self._in_redis[subscription_id] = encoded(after)
                self._remember(subscription_id, after)
                return before, after
            self._adopt(subscription_id, present)
        else:
            return None  # others are at it all the time: they count what they see
        self._unshared.add(subscription_id)
        self._remember(subscription_id, after)
        return before, after

    def _share(self, subscription_id: int) -> None:
        known, wanted = self._in_redis.get(subscription_id, b""), encoded(self.entry(subscription_id))
        if self.is_away:
            return
        try:
            present = self.store.swap(subscription_id, known, wanted) if wanted != known else None
        except Emptied:
            return
        except redis_py.RedisError as error:
            self._lost(error)
            return
        self._unshared.discard(subscription_id)
        if present is None:
            self._in_redis[subscription_id] = wanted
        else:
            self._adopt(subscription_id, present)

    def _adopt(self, subscription_id: int, data: bytes) -> None:
        """What another process made of it counts: it had Redis."""
        self._unshared.discard(subscription_id)
        self._in_redis[subscription_id] = data
        self._remember(subscription_id, decoded(data) if data else NOTHING)

    def _remember(self, subscription_id: int, entry: Entry) -> None:
        if entry.is_nothing:
            self.known.pop(subscription_id, None)
            return
        now = time.monotonic()
        left = min(max(entry.until - self.store.now(), 0.0), entry.wait)
        left = left if left <= self._longest else self._longest  # it may be no number
        self.known[subscription_id] = Known(entry, now + left, now)

    def _lost(self, error: redis_py.RedisError) -> None:
        self.is_away = True
        if not self._told_away:
            self._told_away = True
            _log.warning("breakers are kept by this process alone: Redis does not answer", error=str(error))
