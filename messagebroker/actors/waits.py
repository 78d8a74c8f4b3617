"""Which threads of this process wait for the database to take rows again, and what it said: for readiness and the metric.

A database may answer every question and yet take no row, as with a full disk; only who writes knows.
"""

from __future__ import annotations

import threading

from messagebroker.ops import metrics


class Waits:
    """Threads that wait. Safe to use from all of them."""

    def __init__(self) -> None:
        self._said: dict[int, str] = {}
        self._lock = threading.Lock()

    def note(self, error: str) -> None:
        """The calling thread waits, because of `error`."""
        with self._lock:
            self._said[threading.get_ident()] = error
            metrics.DATABASE_DOWN.set(1)

    def end(self) -> None:
        """The calling thread goes on."""
        with self._lock:
            if self._said.pop(threading.get_ident(), None) is not None and not self._said:
                metrics.DATABASE_DOWN.set(0)

    def check(self) -> str | None:
        """None, or what the database said last."""
        with self._lock:
            said = next(reversed(self._said.values()), None)
        return said and f"takes no rows: {said}"


WAITS = Waits()
"""Of this process."""
