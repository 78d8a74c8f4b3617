"""The circuit breakers of destinations, in one worker process: shared through Redis, remembered here.

What the event loop and the poller ask is answered from memory. Without Redis each process goes on with what it knows.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from functools import partial

import peewee as pw
import redis as redis_py
import structlog

from messagebroker.errors import Unavailable
from messagebroker.ops import breaker_events
from messagebroker.ops.breaker_memory import BreakerMemory
from messagebroker.ops.breaker_state import CLOSED, HALF_OPEN, NOTHING, OPEN, Entry, Rules, after_attempts, probed_by
from messagebroker.ops.metrics import BREAKERS_OPEN
from messagebroker.settings import Settings

COMPARE_SECONDS = 10.0
"""Between comparisons of the events with the breakers: a process may end between a change and its event."""

_LOOK_AGAIN = 1.0  # while another process probes
_log = structlog.get_logger("messagebroker.breakers")


class Breakers:
    """Of one process. No method raises for Redis or the database: what they miss is made up for later."""

    def __init__(self, redis: redis_py.Redis, settings: Settings) -> None:
        self._rules = Rules.of(settings)
        self._me = uuid.uuid4().hex
        self._lock = threading.Lock()  # of whoever changes the memory
        self._memory = BreakerMemory(redis, self._rules.longest)
        self._wanted: set[int] = set()  # somebody would probe
        self._probes: set[int] = set()  # this process may
        self._writing = threading.Lock()
        self._unwritten: deque[tuple[int, str, str]] = deque()
        self._told_unwritten = False
        self._compared_at = time.monotonic()
        self._looked_at = float("-inf")

    def is_closed(self, subscription_id: int) -> bool:
        """Whether any number of attempts may begin. From memory, as the next two."""
        known = self._memory.known.get(subscription_id)
        return known is None or known.entry.state == CLOSED

    def blocked_until(self, subscription_id: int) -> float | None:
        """Seconds until it is worth asking again; None: attempts may begin now."""
        known = self._memory.known.get(subscription_id)
        if known is None or known.entry.state == CLOSED or self._is_mine(known.entry):
            return None
        left = known.due - time.monotonic()
        if left <= 0:
            self._wanted.add(subscription_id)
            return 0.0
        return left if known.entry.state == OPEN else min(left, _LOOK_AGAIN)

    def may_try(self, subscription_id: int) -> int | None:
        """How many attempts may begin now; None: any number.

        A 1 is the probe that one process alone may send, and is given once: `record` tells what came of it, or `untried`.
        """
        known = self._memory.known.get(subscription_id)
        if known is None or known.entry.state == CLOSED:
            return None
        if self._is_mine(known.entry) and subscription_id in self._probes:
            self._probes.discard(subscription_id)
            return 1
        if time.monotonic() >= known.due:
            self._wanted.add(subscription_id)  # the next `refresh` asks for the probe
        return 0

    def untried(self, subscription_id: int) -> None:
        """Gives a probe back for which there was nothing to send, or no room."""
        known = self._memory.known.get(subscription_id)
        if known is not None and self._is_mine(known.entry):
            self._probes.add(subscription_id)

    def record(self, subscription_id: int, ok: int, failed: int, error: str | None = None) -> None:
        """What became of attempts that ended. Costs nothing for a success where nothing has failed; may wait otherwise."""
        if failed or subscription_id in self._memory.known:
            now = self._memory.store.now()
            with self._lock:
                self._change(subscription_id, lambda entry: after_attempts(entry, ok, failed, error, self._rules, now))
            self._write()

    def refresh(self, *, older_than: float = 0.0) -> None:
        """Learns what others changed, in one round trip; asks for probes; writes what was not written. May wait.

        Args:
            older_than: seconds; nothing happens when this was done more recently.
        """
        if time.monotonic() - self._looked_at < older_than:
            return
        self._looked_at = time.monotonic()
        with self._lock:
            self._memory.look()
        if self._memory.is_empty:
            self._fill()
        with self._lock:
            self._probe()
        self._write()
        if time.monotonic() - self._compared_at > COMPARE_SECONDS and not self._memory.is_away:
            self._compared_at = time.monotonic()
            self.compare()
        BREAKERS_OPEN.set(sum(known.entry.state != CLOSED for known in list(self._memory.known.values())))

    def compare(self) -> None:
        """Writes the events that a process which ended could not, and forgets breakers of subscriptions that were removed."""
        now = time.monotonic()
        known = {number: one for number, one in list(self._memory.known.items()) if one.entry.state != CLOSED}
        settled = {number: one.entry for number, one in known.items() if now - one.since > COMPARE_SECONDS / 2}
        try:
            written = {one.subscription_id: one for one in breaker_events.not_closed()}
            for number in written.keys() - known.keys():
                if written[number].is_settled:
                    breaker_events.change(number, CLOSED, _why(NOTHING), settled=True)
            for number in settled.keys() - written.keys():
                breaker_events.change(number, settled[number].state, _why(settled[number]), settled=True)
            removed = breaker_events.removed(list(known))
        except (Unavailable, pw.PeeweeException) as error:
            _log.warning("breakers cannot be compared with their events", error=str(error))
            return
        with self._lock:
            for number in removed:
                self._change(number, lambda _: NOTHING)

    def _change(self, subscription_id: int, step: Callable[[Entry], Entry]) -> bool:
        changed = self._memory.change(subscription_id, step)
        if changed is None:
            return False
        before, after = changed
        if before.state != after.state:
            self._unwritten.append((subscription_id, after.state, _why(after)))
        return True

    def _probe(self) -> None:
        for subscription_id in list(self._wanted):
            self._wanted.discard(subscription_id)
            if self._change(subscription_id, partial(self._probing, subscription_id)):
                self._probes.add(subscription_id)

    def _probing(self, subscription_id: int, entry: Entry) -> Entry:
        known = self._memory.known.get(subscription_id)
        is_due = known is not None and entry.state != CLOSED and time.monotonic() >= known.due
        return probed_by(entry, self._me, self._memory.store.now()) if is_due else entry

    def _fill(self) -> None:
        """What an emptied Redis has lost, from the events: open, and a probe may go at once."""
        try:
            written = breaker_events.not_closed()
        except (Unavailable, pw.PeeweeException):
            return  # at the next refresh
        self._memory.is_empty = False
        for one in written:
            with self._lock:
                self._memory.change(one.subscription_id, partial(self._lost, since=one.at.timestamp()))

    def _lost(self, entry: Entry, since: float) -> Entry:
        if not entry.is_nothing:
            return entry  # somebody knows more
        now = self._memory.store.now()
        return Entry(state=OPEN, failures=self._rules.failures, opens=1, since=since, until=now, error="not known any more")

    def _write(self) -> None:
        """In the order of the changes; what cannot be written now is written with the next ones."""
        if not self._writing.acquire(blocking=False):
            return  # the thread that holds it goes on with ours
        try:
            while self._unwritten:
                breaker_events.change(*self._unwritten[0])
                self._unwritten.popleft()
            self._told_unwritten = False
        except (Unavailable, pw.PeeweeException) as error:
            if not self._told_unwritten:
                self._told_unwritten = True
                _log.warning("events of breakers are written later", error=str(error))
        finally:
            self._writing.release()

    def _is_mine(self, entry: Entry) -> bool:
        return entry.state == HALF_OPEN and entry.holder == self._me


def _why(entry: Entry) -> str:
    if entry.state == OPEN:
        return f"{entry.failures} failures in a row, the last one: {entry.error or 'unknown'}"
    return "a probe is sent" if entry.state == HALF_OPEN else "it works again"
