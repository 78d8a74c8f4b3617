"""One circuit breaker: what it is, and what attempts make of it. The rules are pybreaker's."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

import msgspec
from msgspec.structs import replace
from pybreaker import STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN, CircuitBreaker, CircuitBreakerStorage

from messagebroker.settings import Settings

CLOSED, OPEN, HALF_OPEN = STATES = (STATE_CLOSED, STATE_OPEN, STATE_HALF_OPEN)
PROBE_SECONDS = 90.0
"""A probe that says nothing for so long died with its process. The longest timeout of a webhook is 60 s."""

_MAX_ERROR = 200
_JITTER = 0.2
"""Of a pause, added: a thousand destinations that failed together are not tried together."""


class Entry(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """A breaker as all workers share it. Times are Redis' own, in seconds since 1970."""

    state: str = CLOSED
    failures: int = 0  # in a row
    opens: int = 0  # in a row
    since: float = 0.0  # of the outage, while it is not closed
    until: float = 0.0  # open: when a probe may go; half-open: when the probe is given up
    wait: float = 0.0  # seconds that `until` was made of: nobody waits longer, whatever clocks do
    holder: str = ""  # half-open: the process that probes
    error: str = ""  # the last one

    @property
    def is_nothing(self) -> bool:
        """As good as none."""
        return self.state == CLOSED and not self.failures


NOTHING = Entry()


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When a breaker opens, and for how long."""

    failures: int = 10  # in a row
    seconds: float = 30.0  # the first pause; it doubles with each probe that fails
    max_seconds: float = 600.0

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """BREAKER_FAILURES, BREAKER_SECONDS, BREAKER_MAX_SECONDS."""
        return cls(
            failures=settings.breaker_failures, seconds=settings.breaker_seconds, max_seconds=settings.breaker_max_seconds
        )

    @property
    def longest(self) -> float:
        """Seconds that anything here lasts at most."""
        return max(self.max_seconds * (1.0 + _JITTER), PROBE_SECONDS)

    def pause(self, opens: int) -> float:
        """Seconds that a breaker stays open that opened so often in a row."""
        length: float = min(self.max_seconds, self.seconds * 2.0 ** min(opens - 1, 30))
        return length * random.uniform(1.0, 1.0 + _JITTER)  # noqa: S311 - spreads load, hides nothing  # nosec B311


def after_attempts(entry: Entry, ok: int, failed: int, error: str | None, rules: Rules, now: float) -> Entry:
    """What attempts that ended together make of a breaker. One success shows that the destination works.

    What failed while the breaker was open was on its way before: it says nothing new.
    """
    if not ok and (not failed or entry.state == OPEN):
        return entry
    kept = _Kept(entry)
    breaker = CircuitBreaker(fail_max=rules.failures, state_storage=kept, throw_new_error_on_trip=False)
    if ok:
        if entry.state == OPEN:
            breaker.half_open()  # somebody tried on purpose, and it worked
        breaker.call(_succeed)
    else:
        kept.failures += failed - 1  # pybreaker counts the last one
        with suppress(_Failed):
            breaker.call(_fail)
    if kept.state == CLOSED and not kept.failures:
        return NOTHING
    said = " ".join((error or "").split())[:_MAX_ERROR]
    if kept.state != OPEN:
        return replace(entry, failures=kept.failures, error=said)
    wait = rules.pause(entry.opens + 1)
    return Entry(
        state=OPEN,
        failures=kept.failures,
        opens=entry.opens + 1,
        since=entry.since or now,
        until=now + wait,
        wait=wait,
        error=said,
    )


def probed_by(entry: Entry, holder: str, now: float) -> Entry:
    """Half-open, with this process' probe."""
    breaker = CircuitBreaker(state_storage=(kept := _Kept(entry)))
    breaker.half_open()
    return replace(entry, state=kept.state, until=now + PROBE_SECONDS, wait=PROBE_SECONDS, holder=holder)


def decoded(data: bytes) -> Entry:
    """NOTHING for what is no entry: somebody else wrote it, and deliveries go on."""
    try:
        entry = _decoder.decode(data)
    except msgspec.MsgspecError:
        return NOTHING
    return replace(entry, error=entry.error[:_MAX_ERROR]) if entry.state in STATES else NOTHING


def encoded(entry: Entry) -> bytes:
    """Empty for NOTHING."""
    return b"" if entry.is_nothing else _encoder.encode(entry)


class _Failed(Exception):
    """What pybreaker is told of."""


def _fail() -> NoReturn:
    raise _Failed


def _succeed() -> None:
    return


class _Kept(CircuitBreakerStorage):
    """pybreaker's storage over one entry.

    Its own one for Redis asks for every part by itself, a round trip each, so that two workers could both open a breaker or
    both probe. An entry is compared and swapped as a whole.
    """

    def __init__(self, entry: Entry) -> None:
        super().__init__("entry")
        self._state = entry.state
        self.failures = entry.failures
        self._successes = 0
        self._opened_at: datetime | None = None

    @property
    def state(self) -> str:
        """Closed, open or half-open."""
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        self._state = state

    def increment_counter(self) -> None:
        """One more failure."""
        self.failures += 1

    def reset_counter(self) -> None:
        """No failure any more."""
        self.failures = 0

    def increment_success_counter(self) -> None:
        """One more success while half-open."""
        self._successes += 1

    def reset_success_counter(self) -> None:
        """None."""
        self._successes = 0

    @property
    def counter(self) -> int:
        """Failures in a row."""
        return self.failures

    @property
    def success_counter(self) -> int:
        """Successes while half-open."""
        return self._successes

    @property
    def opened_at(self) -> datetime | None:
        """When it was opened; `Entry.until` decides."""
        return self._opened_at

    @opened_at.setter
    def opened_at(self, moment: datetime) -> None:
        self._opened_at = moment


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)
