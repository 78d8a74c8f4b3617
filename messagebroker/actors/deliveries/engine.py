"""The event loop in which a worker delivers, and the thread that writes down how it went."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

import peewee as pw
import structlog

from messagebroker.actors.deliveries.attempts import outcomes
from messagebroker.actors.deliveries.items import Item, of_born, of_claimed
from messagebroker.actors.deliveries.waiting import Waiting
from messagebroker.actors.deliveries.windows import Place, Windows
from messagebroker.actors.deliveries.writer import Ended, Writer
from messagebroker.db.models import PRIORITIES
from messagebroker.errors import Unavailable
from messagebroker.ops import clock, metrics
from messagebroker.ops.channels import CHANNELS
from messagebroker.ops.channels.channel import Channel, Outcome
from messagebroker.ops.deliveries import claiming
from messagebroker.ops.deliveries.claimed import Claimed, Pair
from messagebroker.ops.deliveries.opening import Payloads
from messagebroker.ops.deliveries.routing import Born
from messagebroker.ops.deliveries.subscribed import Subscribed
from messagebroker.ops.records import SealedKey
from messagebroker.settings import Settings

for _channel in CHANNELS.values():  # a rate needs a 0 to begin with
    if _channel.place:
        metrics.DELIVERY_SECONDS.labels(_channel.name)

OTHERS_AT_ONCE = 20
"""Destinations that are looked at when an attempt of another one has ended."""

SWEEP_SECONDS = 0.05
SWEPT_AT_ONCE = 100
"""Destinations that are looked at without an end, for those whose turn did not come while there still were some: what hangs
may be all that is under way."""

_START_SECONDS = 30.0
_RETRY_SECONDS = 60.0  # of a channel that could not be made
_CLOSE_SECONDS = 10.0
CRITICAL = PRIORITIES.index("critical")
_log = structlog.get_logger("messagebroker.deliveries")


class Engine:
    """Delivers what it is given, from `start` to `stop`."""

    def __init__(
        self,
        settings: Settings,
        payloads: Payloads,
        holder: bytes,
        *,
        may_try: Callable[[Subscribed, int], bool],
        ended: Callable[[Sequence[Ended]], None],
    ) -> None:
        """
        Args:
            settings: of the worker.
            payloads: opens messages.
            holder: 16 bytes that stand for this process.
            may_try: whether a destination may be tried at this priority now. Called from any thread, must not wait.
            ended: called in a thread of its own with attempts that are written down.
        """
        self.holder = holder
        self.windows = Windows(settings.deliveries_at_once)
        self.freed = threading.Event()  # something has ended since it was cleared
        self.last_chances: set[Pair] = set()  # in hand here, and dead letters if this process ends now
        self._settings = settings
        self._payloads = payloads
        self._may_try = may_try
        self._ended = ended
        self._channels: dict[str, Channel] = {}
        self._waiting = Waiting()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_sweeping = False
        self._is_open = False
        self._not_before: dict[str, float] = {}  # channels that could not be made: when that is tried again
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._run, name="deliveries", daemon=True)
        self._writer = Writer(payloads, holder, self._written)

    # from other threads

    def start(self) -> None:
        """Begins; `prepare` makes it ready for a channel."""
        self.windows.resize(self._settings.deliveries_at_once)
        self._writer.start()
        self._thread.start()
        self._started.wait(_START_SECONDS)
        self._is_open = True

    def prepare(self, names: Collection[str]) -> None:
        """Makes these channels, unless they are there. Only those that somebody uses: their libraries are large."""
        for name in names:
            if name not in self._channels and CHANNELS[name].place and time.monotonic() >= self._not_before.get(name, 0.0):
                self._not_before[name] = time.monotonic() + _RETRY_SECONDS
                try:
                    asyncio.run_coroutine_threadsafe(self._make(name), self._loop).result(_START_SECONDS)
                except Exception as error:  # noqa: BLE001 - the other channels go on
                    _log.error("a channel does not start; its deliveries wait", channel=name, exc_info=error)

    def stop(self, seconds: float) -> None:
        """Begins nothing more, waits for what is under way, and gives back the rest."""
        self._is_open = False
        deadline = time.monotonic() + seconds
        while self.windows.running and time.monotonic() < deadline:
            time.sleep(0.02)
        left: list[Item] = []
        try:
            left = asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_CLOSE_SECONDS)
        except TimeoutError:
            _log.error("attempts do not end; others make them again when their leases are over")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._writer.stop()
        try:
            given = claiming.give_back([item.pair for item in left], self.holder)
        except (Unavailable, pw.PeeweeException) as error:
            _log.warning("deliveries could not be given back; others make them later", number=len(left), error=str(error))
            return
        if given:
            _log.info("deliveries given back", number=given)

    @property
    def lives(self) -> bool:
        """Whether its threads run."""
        return self._thread.is_alive() and self._writer.lives

    def reserve(self, subscribed: Subscribed, priority: int) -> bool:
        """See `routing.Hands`. What is merged waits for a look at the table, which takes many at once."""
        channel = self._channels.get(subscribed.channel)
        if not self._is_open or channel is None or channel.merges > 1 or not self._may_try(subscribed, priority):
            return False
        return bool(self.windows.reserve(subscribed.id, channel.at_once, urgent=priority == CRITICAL))

    def room(self, subscribed: Subscribed, wanted: int, priority: int) -> int:
        """Reserves places for claims; how many."""
        channel = self._channels.get(subscribed.channel)
        if not self._is_open or channel is None:
            return 0
        urgent = priority == CRITICAL
        return self.windows.reserve(subscribed.id, channel.at_once, wanted, merges=channel.merges, urgent=urgent)

    def give_back(self, subscription_id: int, number: int = 1) -> None:
        """What was reserved is not needed."""
        self.windows.unreserve(subscription_id, number)

    def take(self, born: list[Born], keys: Mapping[bytes, SealedKey]) -> None:
        """Delivers what was claimed when it was written."""
        self._take([of_born(one, keys) for one in born])

    def take_claimed(self, claimed: Sequence[Claimed], known: Mapping[int, Subscribed], at: float) -> None:
        """Delivers what was claimed from the table; `at`: before that, on the monotonic clock."""
        items = [of_claimed(one, known[one.subscription_id], at) for one in claimed]
        self.last_chances.update(item.pair for item in items if item.is_last_chance)
        self._take(items)

    def rest(self, queues: Collection[str]) -> int:
        """Gives back what waits here and is of these queues; how many. What is under way comes to its end."""
        return self._give_back_waiting(lambda item: PRIORITIES[item.priority] in queues) if queues else 0

    def give_back_late(self, known: Mapping[int, Subscribed]) -> int:
        """Gives back what waited here for so long that its attempt might outlast its lease, and what its subscription has
        changed under; how many."""
        now = time.monotonic()
        return self._give_back_waiting(lambda item: item.begin_by < now or known.get(item.subscribed.id) is not item.subscribed)

    def _give_back_waiting(self, chooses: Callable[[Item], bool]) -> int:
        if not self._is_open or not self._waiting:
            return 0
        found = asyncio.run_coroutine_threadsafe(self._set_free(chooses), self._loop)
        try:
            items = found.result(5)
        except TimeoutError:  # the loop is busy: they stay
            found.add_done_callback(lambda late: self._add(late.result()))
            raise
        if items:
            try:
                claiming.give_back([item.pair for item in items], self.holder)
            except BaseException:
                self._add(items)
                raise
            self._free(items)
        return len(items)

    def _take(self, items: list[Item]) -> None:
        self.windows.hold(sum(len(item.sealed) for item in items))
        self._add(items)

    def _free(self, items: Sequence[Item]) -> None:
        self.windows.hold(-sum(len(item.sealed) for item in items))
        for item in items:
            self.windows.unreserve(item.subscribed.id)
            self.last_chances.discard(item.pair)

    def _add(self, items: list[Item]) -> None:
        self._loop.call_soon_threadsafe(self._enqueue, items)

    def _written(self, batch: Sequence[Ended]) -> None:
        self._free([ended.item for ended in batch])
        self.freed.set()
        self._ended(batch)

    # in the loop

    def _run(self) -> None:
        self._loop = asyncio.new_event_loop()  # here: Windows' loop would take over the signals of the main thread
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._started.set)
        self._loop.run_forever()
        self._loop.close()

    async def _make(self, name: str) -> None:
        self._channels[name] = CHANNELS[name].make(self._settings)

    async def _close(self) -> list[Item]:
        """Ends what is under way; what was never ended, for others."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for channel in self._channels.values():
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(channel.close(), 3)
        return list(self._waiting)

    async def _set_free(self, chooses: Callable[[Item], bool]) -> list[Item]:
        return self._waiting.take_out(chooses)

    def _enqueue(self, items: list[Item]) -> None:
        self._waiting.add(items)
        if not self._is_open:
            return  # given back with the rest
        for number in dict.fromkeys(item.subscribed.id for item in items):
            self._begin(number)
        self._keep_sweeping()

    def _keep_sweeping(self) -> None:
        if self._waiting and self._is_open and not self._is_sweeping:
            self._is_sweeping = True
            self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        self._is_sweeping = False
        if self._is_open:
            self._begin_others(SWEPT_AT_ONCE)
            self._keep_sweeping()

    def _begin(self, number: int) -> bool:
        """Begins attempts of one destination; False: the process has no room for more of any."""
        while (item := self._waiting.first(number)) is not None:
            channel = self._channels[item.subscribed.channel]
            place = self.windows.begin(number, channel.at_once)
            if place is None:
                return self.windows.running < self.windows.at_once
            task = self._loop.create_task(self._attempt(channel, place, self._waiting.pop(number, channel.merges)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return True

    async def _attempt(self, channel: Channel, place: Place, items: list[Item]) -> None:
        started, before = clock.now(), time.monotonic()
        metrics.DELIVERIES_IN_FLIGHT.inc()
        took = False
        try:
            found = await outcomes(channel, items, self._payloads)
            took = any(_shows_life(outcome) for outcome in found.values())
            seconds = time.monotonic() - before
            metrics.DELIVERY_SECONDS.labels(channel.name).observe(seconds)
            self._writer.put([Ended(item, found[item.pair], started, int(seconds * 1000)) for item in items])
        except asyncio.CancelledError:
            self._waiting.add(items)  # given back by who cancelled
            raise
        finally:
            metrics.DELIVERIES_IN_FLIGHT.dec()
            self.windows.end(place, took=took, seconds=time.monotonic() - before, most=channel.at_once)
            if self._is_open:
                self._go_on(place.subscription_id)

    def _go_on(self, number: int) -> None:
        """Its own destination first, then some that wait for room in the process, each time the next ones: there may be
        a thousand that hang, and walking past them all after every attempt would be most of the work."""
        self._begin(number)
        self._begin_others(OTHERS_AT_ONCE)

    def _begin_others(self, most: int) -> None:
        for other in self._waiting.next_in_turn(most):
            if not self._begin(other):
                return


def _shows_life(outcome: Outcome) -> bool:
    """Whether the destination took what it was given, or said why not."""
    return outcome.kind == "delivered" or (outcome.code is not None and outcome.kind != "retry")
