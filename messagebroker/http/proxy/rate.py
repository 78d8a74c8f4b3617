"""A client's rate, counted in Redis so that all proxies share it: GCRA, one script call a request.

A request is let in while the client owes less than a second's worth of messages, then the whole request is charged:
a batch larger than the rate goes through, and the client waits for as long as it was worth.
"""

from __future__ import annotations

from math import ceil

from messagebroker.http.problems import Problem
from messagebroker.ops.limits import GCRA
from messagebroker.ops.redis_client import NAMESPACE


class Charge:
    """What a request costs its client.

    Args:
        client: the client's name.
        messages: in this request.
        rate: messages a second that the policy allows.
    """

    __slots__ = ("_key", "_messages", "_rate", "headers")

    def __init__(self, client: str, messages: int, rate: int) -> None:
        self._key = f"{NAMESPACE}:rate:{client}"
        self._messages = messages
        self._rate = rate
        self.headers: dict[str, str] = {}

    def command(self) -> tuple[str | int, ...]:
        """The Redis command."""
        return ("EVAL", GCRA, 1, self._key, self._messages, self._rate)

    def settle(self, reply: list[int]) -> Problem | None:
        """Reads the reply: None when the request may go in."""
        refused, micros = reply
        owed = micros / 1_000_000
        left = 0 if refused else max(0, int(self._rate * (1 - owed)))
        self.headers = {
            "RateLimit-Policy": f'"client";q={self._rate};w=1',
            "RateLimit": f'"client";r={left};t={ceil(owed)}',
        }
        if not refused:
            return None
        detail = f"this client may send {self._rate} messages a second; wait {owed:.2f} s"
        return Problem(429, "rate-limited", detail, headers={**self.headers, "Retry-After": str(ceil(owed))})
