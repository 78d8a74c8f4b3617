"""W3C trace context: the id that follows a request through logs, records and webhooks."""

from __future__ import annotations

import os
import re

import falcon

_VALID = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent(request: falcon.Request) -> str:
    """The caller's `traceparent` when it is valid, else a new one; the same for the whole request."""
    known: str | None = getattr(request.context, "traceparent", None)
    if known is None:
        given = request.env.get("HTTP_TRACEPARENT", "")
        known = given if _VALID.fullmatch(given) else new()
        request.context.traceparent = known
    return known


def new() -> str:
    """A fresh, sampled trace."""
    drawn = os.urandom(24).hex()
    return f"00-{drawn[:32]}-{drawn[32:]}-01"


def trace_id(request: falcon.Request) -> str:
    """The 32 hexadecimal digits that name this request in logs and in answers to unexpected errors."""
    return traceparent(request)[3:35]
