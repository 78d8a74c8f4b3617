"""When to send again, and after how long."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED = frozenset({425, 429, 502, 503, 504})
BUSY_KEY = "idempotency-key-in-use"  # 409: an earlier try of the same request is still under way


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How patient a client is.

    A pause doubles from `first_pause` to `longest_pause`, times a random factor of 0.5 to 1.0, so that clients which
    failed together do not come back together. A `Retry-After` from the system is a minimum. When the next try would
    begin after `give_up_after`, the last failure is raised instead.
    """

    attempts: int = 10  # with the pauses below half a minute at most: a server that is restarted is waited out
    first_pause: float = 0.2  # seconds
    longest_pause: float = 5.0  # seconds
    give_up_after: float = 60.0  # seconds since the first try began

    def begin(self) -> Tries:
        """The bookkeeping of one request."""
        return Tries(self)


NEVER = Retry(attempts=1)
"""Every failure is raised at once."""


class Tries:
    """Counts the tries of one request."""

    def __init__(self, retry: Retry) -> None:
        self.retry = retry
        self.failed = 0
        self.began = time.monotonic()

    def pause(self, retry_after: float | None = None) -> float | None:
        """Counts a failed try; seconds until the next one, None when it was the last."""
        self.failed += 1
        if self.failed >= self.retry.attempts:
            return None
        backoff = min(self.retry.first_pause * 2.0 ** (self.failed - 1), self.retry.longest_pause)
        seconds = (retry_after or 0.0) + backoff * random.uniform(0.5, 1.0)  # nosec B311 # noqa: S311 spreads load, guards nothing
        if time.monotonic() - self.began + seconds > self.retry.give_up_after:
            return None
        return seconds


def parse_retry_after(value: str | None) -> float | None:
    """Seconds, from a Retry-After header in either of its forms; None when absent or unreadable."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value.strip())
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
