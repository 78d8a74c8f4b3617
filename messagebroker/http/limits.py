"""What a peer may take: time, pace and connections."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from messagebroker.ops import metrics
from messagebroker.settings import Settings

log = logging.getLogger(__name__)

RATE_GRACE_SECONDS = 5.0
"""How long a transfer may take before its rate counts."""

IDLE_SECONDS = 120.0
"""How long a connection may wait for its next request."""

LINGER_SECONDS = 2.0
"""How long a closed connection still takes in what was under way, so that the peer gets to read the answer."""

ANONYMOUS_BODY_BYTES = 64 * 1024
"""The longest request body of a peer without a certificate: a login fits, filling the memory does not."""

HELD_REQUESTS = 32
"""How many requests of the greatest size all connections together may hold in memory."""

_HARMLESS = frozenset({"gone", "displaced"})  # port probes of load balancers end so, every few seconds


@dataclass(frozen=True)
class Limits:
    """The numbers of one server."""

    handshake_seconds: float
    header_seconds: float
    body_seconds: float
    min_body_rate: int
    max_connections: int
    max_connections_per_address: int
    held_bytes: int
    idle_seconds: float = IDLE_SECONDS
    linger_seconds: float = LINGER_SECONDS
    rate_grace_seconds: float = RATE_GRACE_SECONDS

    @classmethod
    def of(cls, settings: Settings, *, room: int) -> Limits:
        """As configured; `room`: how many connections the process can hold."""
        return cls(
            handshake_seconds=settings.handshake_seconds,
            header_seconds=settings.header_seconds,
            body_seconds=settings.body_seconds,
            min_body_rate=settings.min_body_rate,
            max_connections=min(settings.max_connections, room),
            max_connections_per_address=settings.max_connections_per_address,
            held_bytes=settings.max_request_bytes * HELD_REQUESTS,
        )


class Refusals:
    """Counts connections that ended in or before the handshake, and logs each; a flood is logged by number.

    Harmless ones have lines of their own, so that they cannot crowd out the others.
    """

    LINES_PER_SECOND = 20

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._second = 0
        self._lines: Counter[int] = Counter()  # by level, in this second
        self._untold: Counter[str] = Counter()

    def record(self, reason: str, address: str, detail: str = "") -> None:
        """One connection from `address` was refused."""
        metrics.TLS_REFUSED.labels(reason).inc()
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._lines.clear()
            self.tell()
        level = _level_of(reason)
        self._lines[level] += 1
        if self._lines[level] > self.LINES_PER_SECOND:
            self._untold[reason] += 1
            return
        log.log(level, "refused a connection from %s: %s%s", address, reason, f" ({detail})" if detail else "")

    def tell(self) -> None:
        """Logs the sum of what was not logged one by one."""
        if self._untold:
            level = max(_level_of(reason) for reason in self._untold)
            told = ", ".join(f"{reason} {count}" for reason, count in sorted(self._untold.items()))
            self._untold.clear()
            log.log(level, "refused more connections than are logged one by one: %s", told)


def _level_of(reason: str) -> int:
    return logging.INFO if reason in _HARMLESS else logging.WARNING


def plain_address(address: tuple[Any, ...]) -> tuple[Any, ...]:
    """The address with IPv4 written as IPv4, also on a socket that takes both."""
    host = address[0]
    return (host.removeprefix("::ffff:"), *address[1:]) if host.startswith("::ffff:") and "." in host else address
