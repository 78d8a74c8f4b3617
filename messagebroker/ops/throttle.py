"""Slows down whoever guesses: so many failures in so long, then a pause. In this process' memory, and bounded."""

from __future__ import annotations

import threading
import time
from collections import deque

_MAX_KEYS = 10_000


class Throttle:
    """Counts failures by key over a sliding window.

    Args:
        failures: how many are allowed in the window.
        seconds: the window.
    """

    def __init__(self, failures: int, seconds: float) -> None:
        self._failures = failures
        self._seconds = seconds
        self._lock = threading.Lock()
        self._seen: dict[str, deque[float]] = {}

    def wait_seconds(self, key: str) -> float:
        """How long this key must wait; 0: it may try."""
        now = time.monotonic()
        with self._lock:
            seen = self._recent(key, now)
            return seen[0] + self._seconds - now if len(seen) >= self._failures else 0.0

    def failed(self, key: str) -> None:
        """One more failure."""
        now = time.monotonic()
        with self._lock:
            if key not in self._seen and len(self._seen) >= _MAX_KEYS:
                self._seen.pop(next(iter(self._seen)))  # the one that failed first; a full table means a flood of addresses
            seen = self._recent(key, now)
            seen.append(now)
            self._seen[key] = seen

    def succeeded(self, key: str) -> None:
        """Forgets the key's failures."""
        with self._lock:
            self._seen.pop(key, None)

    def _recent(self, key: str, now: float) -> deque[float]:
        seen = self._seen.get(key) or deque(maxlen=self._failures)
        while seen and seen[0] <= now - self._seconds:
            seen.popleft()
        return seen
