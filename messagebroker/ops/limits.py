"""Limits that all processes keep together, in Redis; while it does not answer, each keeps them by itself."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from math import ceil
from typing import Any

import redis as redis_py
import structlog

from messagebroker.ops.redis_client import NAMESPACE

GCRA = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local due = tonumber(redis.call('GET', KEYS[1]) or '0')
if due < now then due = now end
if due - now > 1000000 then return {1, due - now - 1000000} end
due = due + math.floor(ARGV[1] * 1000000 / ARGV[2])
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000) + 1000)
return {0, due - now}
"""
"""KEYS: of whom. ARGV: what this costs, and how much there is in a second. A second's worth may come at once.

Answers {refused, microseconds}: to wait, or owed.
"""

PAUSE_SECONDS = 5.0
"""After a failure Redis is left alone for so long: a request must not wait for a timeout each time."""

_MAX_KEYS = 10_000
_log = structlog.get_logger("messagebroker.limits")


class Shared:
    """Redis as long as it answers."""

    def __init__(self, redis: redis_py.Redis) -> None:
        self._redis: Any = redis  # redis-py types no raw commands
        self._lock = threading.Lock()
        self._away_until: float | None = None

    def run(self, *command: Any) -> Any:
        """The reply; None when Redis does not answer, or did not a moment ago. For commands that never answer nil."""
        with self._lock:
            if self._away_until is not None:
                if time.monotonic() < self._away_until:
                    return None
                self._away_until = time.monotonic() + PAUSE_SECONDS  # others go on without it while this one tries
        try:
            reply = self._redis.execute_command(*command)
        except redis_py.RedisError as error:
            with self._lock:
                if self._away_until is None:
                    _log.warning("limits are kept by this process alone: Redis does not answer", error=str(error))
                self._away_until = time.monotonic() + PAUSE_SECONDS
            return None
        with self._lock:
            self._away_until = None
        return reply


@dataclass(frozen=True)
class Verdict:
    """What a request is told. `wait`: seconds, for one that is refused."""

    refused: bool
    wait: float
    headers: dict[str, str]


class Limiter:
    """So many requests a second for each key.

    Args:
        shared: where all processes count.
        kind: `user`, `address` or `requests`: the name of the limit in headers and keys.
        rate: requests a second; as many may come at once.
    """

    def __init__(self, shared: Shared, *, kind: str, rate: int) -> None:
        self._shared = shared
        self._kind = kind
        self._rate = rate
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}

    def charge(self, key: str, cost: int = 1) -> Verdict:
        """One request of `key`, which counts as `cost` of them."""
        reply = self._shared.run("EVAL", GCRA, 1, f"{NAMESPACE}:rate:{self._kind}:{key}", cost, self._rate)
        refused, micros = reply if reply is not None else self._alone(key, cost)
        owed = micros / 1_000_000
        left = 0 if refused else max(0, int(self._rate * (1 - owed)))
        headers = {
            "RateLimit-Policy": f'"{self._kind}";q={self._rate};w=1',
            "RateLimit": f'"{self._kind}";r={left};t={ceil(owed)}',
        }
        return Verdict(bool(refused), owed if refused else 0.0, headers)

    def _alone(self, key: str, cost: int) -> tuple[int, float]:
        """The script's arithmetic in this process."""
        now = time.monotonic()
        with self._lock:
            due = max(self._due.pop(key, now), now)
            refused = due - now > 1.0
            self._due[key] = due = due if refused else due + cost / self._rate
            if len(self._due) > _MAX_KEYS:
                self._due.pop(next(iter(self._due)))  # who came longest ago
        return (1, (due - now - 1.0) * 1_000_000) if refused else (0, (due - now) * 1_000_000)
