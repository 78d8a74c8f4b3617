"""What a submit says in its headers."""

from __future__ import annotations

import re
from typing import Any

from messagebroker.http.problems import Problem

_KEY = re.compile(r"[!-~]{1,255}")
_CORRELATION = re.compile(r"[ -~]{1,128}")
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})(?:\.\d+)?\"?", re.I)
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\";\s]+)", re.I)
LONGEST_WAIT = 10.0
"""Seconds that one request may hold a thread; `Prefer` is a wish, not a right."""


def is_traceparent(text: str) -> bool:
    """Whether it is a W3C trace context of version 00."""
    return _TRACEPARENT.fullmatch(text) is not None


def traceparent(environ: dict[str, Any]) -> str | None:
    """The caller's, if it sent a valid one; an invalid one is to be ignored, says W3C."""
    given = environ.get("HTTP_TRACEPARENT")
    return given if given is not None and is_traceparent(given) else None


def idempotency_key(environ: dict[str, Any]) -> str | None:
    """The caller's key, without the quotes that the IETF draft puts around it."""
    given = environ.get("HTTP_IDEMPOTENCY_KEY")
    if given is None:
        return None
    if len(given) > 1 and given[0] == given[-1] == '"':
        given = given[1:-1]
    if not _KEY.fullmatch(given):
        detail = "Idempotency-Key: 1 to 255 visible ASCII characters are needed; a UUID is a good one"
        raise Problem(400, "invalid-header", detail, field="Idempotency-Key")
    return str(given)


def correlation_id(environ: dict[str, Any]) -> str | None:
    """X-Correlation-Id: kept beside the message, for the sender's own bookkeeping."""
    given = environ.get("HTTP_X_CORRELATION_ID")
    if given is None:
        return None
    if not _CORRELATION.fullmatch(given):
        raise Problem(400, "invalid-header", "X-Correlation-Id: 1 to 128 printable ASCII characters", field="X-Correlation-Id")
    return str(given)


def wait_seconds(environ: dict[str, Any]) -> float:
    """Of `Prefer: wait=N`; 0 without it."""
    given = environ.get("HTTP_PREFER")
    match = _WAIT.search(given) if given else None
    return min(float(match.group(1)), LONGEST_WAIT) if match else 0.0


def media_type(content_type: str | None) -> str:
    """Without its parameters, in lower case. A charset other than UTF-8 is refused."""
    if content_type is None:
        return ""
    charset = _CHARSET.search(content_type)
    if charset and charset.group(1).lower() not in ("utf-8", "utf8", "us-ascii"):
        raise Problem(
            415, "unsupported-media-type", f"the charset {charset.group(1)} is not taken; send UTF-8", field="Content-Type"
        )
    return content_type.partition(";")[0].strip().lower()
