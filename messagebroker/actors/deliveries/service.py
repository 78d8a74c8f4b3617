"""All of a worker process that has to do with deliveries."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import redis as redis_py

from messagebroker.actors.deliveries.claimer import Claimer
from messagebroker.actors.deliveries.engine import Engine
from messagebroker.actors.deliveries.writer import Ended
from messagebroker.db.models import PRIORITIES
from messagebroker.ops import queue_rates, steering, subscription_failures
from messagebroker.ops.breakers import Breakers
from messagebroker.ops.channels.channel import Outcome
from messagebroker.ops.deliveries.opening import Payloads
from messagebroker.ops.deliveries.routing import Router
from messagebroker.ops.deliveries.subscribed import Subscribed, Subscriptions
from messagebroker.ops.heartbeats import Heart
from messagebroker.ops.keyring import KeyRing
from messagebroker.settings import Settings

_SILENT_SECONDS = 90.0  # in the middle of a statement it waits for the driver's time-out of 60 s


class Deliveries:
    """From `start` to `stop`. `router` is for who stores messages."""

    def __init__(
        self,
        settings: Settings,
        redis: redis_py.Redis,
        holder: bytes,
        paused: Callable[[], frozenset[str]],
        is_steady: Callable[[], bool] = lambda: True,
        is_seen: Callable[[], bool] = lambda: True,
    ) -> None:
        """`is_steady`, `is_seen`: see `Claimer`.

        Raises:
            ConfigurationError: the private master keys are not on this machine.
        """
        payloads = Payloads(settings)
        self._paused = paused
        self._is_seen = is_seen
        self.subscriptions = Subscriptions(payloads.ring, lambda: KeyRing.load(settings))
        self.breakers = Breakers(redis, settings)
        subscription_failures.setup(settings)
        self.engine = Engine(settings, payloads, holder, may_try=self._may_try, ended=self._ended)
        self.claimer = Claimer(self.engine, self.subscriptions, self.breakers, paused, is_steady, is_seen)
        self.router = Router(self.subscriptions, payloads, self.engine)

    def start(self) -> None:
        """Begins."""
        self.engine.start()
        self.claimer.start()

    def stop(self, seconds: float) -> None:
        """Claims no more, waits so long for what is under way, gives back the rest."""
        self.claimer.stop()
        self.engine.stop(seconds)

    def check(self) -> str | None:
        """None, or what does not move."""
        if not self.engine.lives:
            return "its threads ended"
        silent = time.monotonic() - self.claimer.seen_at
        return None if self.claimer.lives and silent < _SILENT_SECONDS else f"no look at the table for {silent:.0f} s"

    def _may_try(self, subscribed: Subscribed, priority: int) -> bool:
        return self._is_seen() and self.breakers.is_closed(subscribed.id) and PRIORITIES[priority] not in self._paused()

    def _ended(self, batch: Sequence[Ended]) -> None:
        """Tells the breakers, once for each destination, and counts for the queues' rates."""
        for priority, number in Counter(ended.item.priority for ended in batch if ended.outcome.kind == "delivered").items():
            queue_rates.count_delivered(PRIORITIES[priority], number)
        counted: dict[int, list[Ended]] = defaultdict(list)
        for ended in batch:
            counted[ended.item.subscribed.id].append(ended)
        for number, attempts in counted.items():
            errors = [ended.outcome.error for ended in attempts if ended.outcome.kind == "retry"]
            ok = sum(_answered(ended.outcome) for ended in attempts)
            if ok or errors:
                self.breakers.record(number, ok, len(errors), errors[-1] if errors else None)
            else:
                self.breakers.untried(number)  # nothing was asked of the destination, as when a message does not open


def _answered(outcome: Outcome) -> bool:
    """Whether the destination works, whatever it made of the message."""
    return outcome.kind == "delivered" or (outcome.kind == "failed" and outcome.code is not None)


def of_worker(settings: Settings, redis: redis_py.Redis, heart: Heart) -> Deliveries:
    """Those of a worker, which looks at what operators paused."""
    return Deliveries(settings, redis, bytes.fromhex(heart.instance), steering.paused, heart.is_steady, heart.is_seen)
