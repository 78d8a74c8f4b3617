"""Pulls that found nothing and wait: in the order in which they came, without a thread, and not more than there is room for."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import falcon

from messagebroker.http.later import Later, Reply
from messagebroker.http.replies import measured, of_error

MOST_OF_CLIENT = 10
"""Pulls of one client that wait at a time."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Waiter:
    """One pull. `work` tries again: a reply, or None when there is still nothing."""

    subscription_id: int
    client: str
    until: float  # of time.monotonic()
    request: falcon.Request
    later: Later
    work: Callable[[], Reply | None]
    empty: Reply

    def answer(self, reply: Reply) -> None:
        """Sends it. A waiter is answered once, by whoever took it out of the room."""
        self.later.answer(measured(reply, self.request))

    def fail(self, error: Exception) -> None:
        """Sends the problem."""
        self.answer(of_error(error, self.request))


@dataclass
class Waiting:
    """The room for them. Whoever takes a waiter out has to answer it, or to put it back."""

    most: int
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _queues: dict[int, deque[Waiter]] = field(default_factory=dict)
    _of_client: Counter[str] = field(default_factory=Counter)
    _is_closed: bool = True  # until somebody looks after it

    def leave_room(self, connections: int) -> None:
        """At most half of the server's connections wait: of them Windows has few, and everybody else needs some."""
        self.most = min(self.most, connections // 2)

    def open(self) -> None:
        """From now on somebody looks after those who wait."""
        self._is_closed = False

    def enter(self, waiter: Waiter) -> bool:
        """False when there is no room, or the server stops."""
        with self._lock:
            is_full = self._of_client.total() >= self.most or self._of_client[waiter.client] >= MOST_OF_CLIENT
            if self._is_closed or is_full:
                return False
            waiter.later.watch()  # now, for it may be answered as soon as it is in
            self._queues.setdefault(waiter.subscription_id, deque()).append(waiter)
            self._of_client[waiter.client] += 1
            return True

    def put_back(self, waiter: Waiter) -> bool:
        """To the front; False when the server stops."""
        with self._lock:
            if self._is_closed:
                return False
            self._queues.setdefault(waiter.subscription_id, deque()).appendleft(waiter)
            self._of_client[waiter.client] += 1
            return True

    def next(self, subscription_id: int) -> Waiter | None:
        """Who waits longest for this subscription."""
        with self._lock:
            queue = self._queues.get(subscription_id)
            waiter = queue.popleft() if queue else None
            if waiter is not None:
                self._left(waiter)
            return waiter

    def number(self, subscription_id: int | None = None) -> int:
        """How many wait, for this subscription or in all."""
        with self._lock:
            return self._of_client.total() if subscription_id is None else len(self._queues.get(subscription_id, ()))

    def subscriptions(self) -> list[int]:
        """For which somebody waits."""
        with self._lock:
            return list(self._queues)

    def leaving(self, now: float) -> list[Waiter]:
        """Takes out those whose time is over, or whose connection is."""
        with self._lock:
            gone = [one for queue in self._queues.values() for one in queue if one.until <= now or not one.later.is_there]
            for waiter in gone:
                self._queues[waiter.subscription_id].remove(waiter)
                self._left(waiter)
            return gone

    def close(self) -> list[Waiter]:
        """Takes out everybody; nobody enters any more."""
        with self._lock:
            self._is_closed = True
            everybody = [waiter for queue in self._queues.values() for waiter in queue]
            self._queues.clear()
            self._of_client.clear()
            return everybody

    def _left(self, waiter: Waiter) -> None:
        self._of_client[waiter.client] -= 1
        if not self._of_client[waiter.client]:
            del self._of_client[waiter.client]
        if not self._queues[waiter.subscription_id]:
            del self._queues[waiter.subscription_id]
