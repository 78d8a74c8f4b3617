"""What an answer to a webhook means: the status decides; the body is for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from messagebroker.ops.channels.channel import Kind, Outcome

GONE = 410
_TRIED_AGAIN = frozenset({408, 409, 421, 423, 425, 429})
"""Of 4xx: they speak of the moment, not of the message. Every 5xx is tried again."""

_LONGEST_WAIT = 86_400.0


@dataclass
class Answer:
    """What has arrived of it."""

    code: int
    headers: Mapping[str, str]
    body: bytearray = field(default_factory=bytearray)


def judged(answer: Answer, shown: dict[str, str], now: float) -> Outcome:
    """How the attempt ended.

    Args:
        answer: its head is whole.
        shown: headers of the request, secrets masked.
        now: seconds since 1970.
    """
    kind = kind_of(answer.code)
    return Outcome(
        kind=kind,
        code=answer.code,
        error=None if kind == "delivered" else _told(answer),
        retry_after=seconds_asked(answer.headers.get("Retry-After"), now) if kind == "retry" else None,
        request=shown,
        answer=bytes(answer.body),
    )


def kind_of(code: int) -> Kind:
    """What a status means for the schedule."""
    if 200 <= code < 300:
        return "delivered"
    if code == GONE:
        return "gone"
    return "failed" if 300 <= code < 500 and code not in _TRIED_AGAIN else "retry"


def seconds_asked(value: str | None, now: float) -> float | None:
    """A `Retry-After` (seconds or a date) in seconds, at most a day; None when there is none or it says nothing."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:10]), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:  # `-0000`, or none at all: HTTP knows only GMT
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, math.ceil(moment.timestamp() - now)), _LONGEST_WAIT)


def _told(answer: Answer) -> str:
    try:
        text = f"the receiver answered {answer.code} {HTTPStatus(answer.code).phrase}"
    except ValueError:
        text = f"the receiver answered {answer.code}"
    if 300 <= answer.code < 400:
        return f"{text}, to {_host_of(answer.headers.get('Location'))}; redirects are not followed, so give the final URL"
    return text


def _host_of(location: str | None) -> str:
    if location is None:
        return "nowhere"
    try:
        host = urlsplit(location).hostname
    except ValueError:
        return "no address"
    return "".join(c for c in host[:100] if c.isprintable()) if host else "another path"
