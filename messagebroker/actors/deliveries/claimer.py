"""Looks at the table four times a second for deliveries that are due, and at once when room has become free for more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import peewee as pw
import redis
import structlog

from messagebroker.actors.deliveries.engine import Engine
from messagebroker.db.models import PRIORITIES
from messagebroker.db.writing import give_up_connection
from messagebroker.errors import BrokerError
from messagebroker.ops.breakers import Breakers
from messagebroker.ops.channels import CHANNELS
from messagebroker.ops.database_clock import DatabaseClock
from messagebroker.ops.deliveries import claiming, orphans, rescue
from messagebroker.ops.deliveries.claimed import Claimed
from messagebroker.ops.deliveries.claiming import Due
from messagebroker.ops.deliveries.subscribed import Subscribed, Subscriptions

LOOK_SECONDS = 0.25
IDLE_SECONDS = 1.0  # between looks at the breakers while nothing is due
RESCUE_SECONDS = 5.0
OUTAGE_SECONDS = 1.0
ORPHANS_AT_ONCE = 20  # subscriptions: those who deliver shall not wait for those who do not

_log = structlog.get_logger("messagebroker.deliveries")


class Claimer:
    """A thread from `start` to `stop`."""

    def __init__(
        self,
        engine: Engine,
        subscriptions: Subscriptions,
        breakers: Breakers,
        paused: Callable[[], frozenset[str]],
        is_steady: Callable[[], bool] = lambda: True,
        is_seen: Callable[[], bool] = lambda: True,
    ) -> None:
        """
        Args:
            engine: is given what is claimed.
            subscriptions: refreshed here.
            breakers: refreshed here too.
            paused: the queues that operators stopped.
            is_steady: whether heartbeats tell who is gone. After an outage of the database they do not: it is no crash of
                anybody's, and three of them would make dead letters of what has done no harm.
            is_seen: whether others see that this process lives; what it claimed otherwise they would take back at once.
        """
        self.seen_at = time.monotonic()  # of the last round, for the health check
        self._engine = engine
        self._subscriptions = subscriptions
        self._breakers = breakers
        self._paused = paused
        self._is_steady = is_steady
        self._is_seen = is_seen
        self._clock = DatabaseClock()
        self._probing: set[int] = set()  # subscriptions whose probe this round may send
        self._rescued_at = time.monotonic()
        self._stop = threading.Event()
        self._is_out = False
        self._thread = threading.Thread(target=self._run, name="delivery-claimer", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Claims nothing more."""
        self._stop.set()
        self._engine.freed.set()
        self._thread.join(5)

    @property
    def lives(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._engine.freed.clear()
                pause, is_behind = self._round()
                self.seen_at = time.monotonic()
                waiter = self._engine.freed if is_behind else self._stop
                waiter.wait(pause)
        finally:
            give_up_connection()

    def _round(self) -> tuple[float, bool]:
        """One look; the seconds until the next one, and whether it comes earlier when something has ended."""
        try:
            self._breakers.refresh(older_than=IDLE_SECONDS)
            self._subscriptions.refresh()
            self._engine.prepare(self._subscriptions.channels)
            if time.monotonic() - self._rescued_at > RESCUE_SECONDS:
                self._rescued_at = time.monotonic()
                self._rescue()
            return LOOK_SECONDS, self._is_seen() and self._claim()
        except (BrokerError, pw.PeeweeException, redis.RedisError) as error:
            if not self._is_out:
                _log.warning("deliveries that are due wait", error=str(error))
            self._is_out = True
            return OUTAGE_SECONDS, False
        except Exception as error:  # noqa: BLE001 - a defect must not end what all destinations depend on
            _log.error("a look at what is due failed in this program", exc_info=error)
            return OUTAGE_SECONDS, False

    def _claim(self) -> bool:
        """Takes what there is room for; whether something was left for want of room."""
        due = claiming.due()
        if due:  # not in each of the looks that ends of attempts bring about
            self._breakers.refresh(older_than=LOOK_SECONDS / 2)
        if self._is_out:
            self._is_out = False
            _log.info("deliveries go on")
        known = self._subscriptions.current
        self._engine.give_back_late(known)
        self._probing.clear()
        claimed: list[Claimed] = []
        wanted: list[tuple[Due, int]] = []
        self._end_orphans(due, known)
        try:
            is_behind = self._reserve(due, known, wanted)
            if not wanted:
                return is_behind
            began = time.monotonic()
            claimed = claiming.claim(wanted, holder=self._engine.holder, last_chances=0 if self._engine.last_chances else 1)
        finally:
            taken = [one.subscription_id for one in claimed]
            self._unreserve(wanted, taken)
            for subscription_id in self._probing.difference(taken):
                self._breakers.untried(subscription_id)
        self._engine.take_claimed(claimed, known, began)
        return is_behind or len(claimed) >= min(claiming.LIMIT, sum(room for _, room in wanted))

    def _end_orphans(self, due: list[Due], known: dict[int, Subscribed]) -> None:
        if unknown := list(dict.fromkeys(group.subscription_id for group in due if group.subscription_id not in known)):
            orphans.end(unknown[:ORPHANS_AT_ONCE])

    def _reserve(self, due: list[Due], known: dict[int, Subscribed], wanted: list[tuple[Due, int]]) -> bool:
        """Adds to `wanted` what there is room for, so that the caller can give it back after any error; whether room lacked."""
        paused = {PRIORITIES.index(queue) for queue in self._paused() if queue in PRIORITIES}
        left, is_behind = claiming.LIMIT, False
        for group in due:
            subscribed = known.get(group.subscription_id)
            if subscribed is None or not subscribed.is_usable or CHANNELS[subscribed.channel].place is None:
                continue  # an orphan; or who can deliver it is elsewhere
            if group.priority not in paused and self._breakers.blocked_until(subscribed.id) is None and left > 0:
                most = self._most(subscribed.id, left)
                if not most:
                    continue
                room = self._engine.room(subscribed, most, group.priority)
                left -= room
                is_behind = is_behind or not room
                if room:
                    wanted.append((group, room))
        return is_behind

    def _most(self, subscription_id: int, left: int) -> int:
        """A breaker that is half open lets few try."""
        probes = self._breakers.may_try(subscription_id)
        if probes:
            self._probing.add(subscription_id)
        return left if probes is None else min(left, probes)

    def _unreserve(self, wanted: list[tuple[Due, int]], claimed: list[int]) -> None:
        """Each group's room that was not used. Groups of one subscription share its places."""
        rooms: dict[int, int] = {}
        for group, room in wanted:
            rooms[group.subscription_id] = rooms.get(group.subscription_id, 0) + room
        for subscription, room in rooms.items():
            unused = room - claimed.count(subscription)
            if unused > 0:
                self._engine.give_back(subscription, unused)

    def _rescue(self) -> None:
        has_leapt = self._clock.has_leapt()
        number = rescue.rescue() if self._is_steady() and not has_leapt else 0
        if number:
            _log.warning("deliveries of workers that are gone taken back", number=number)
        self._engine.windows.forget(self._subscriptions.current)
