"""Patterns of topics: what clients may send to and what subscriptions get. `*` stands for anything, dots too."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from messagebroker.errors import Refused

MOST_PATTERNS = 200
MOST_STARS = 3
"""In one pattern: more would say little."""

_is_pattern = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._/*-]{0,199}").fullmatch


def checked(value: Any) -> list[str]:
    """A list of patterns without repetitions, in its order.

    Raises:
        Refused: it is none; says why.
    """
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_PATTERNS:
        raise Refused(f"is a list of 1 to {MOST_PATTERNS} topics")
    for pattern in value:
        if not isinstance(pattern, str) or not _is_pattern(pattern) or pattern.count("*") > MOST_STARS or "**" in pattern:
            raise Refused(f"{str(pattern)[:80]!r} is no topic with up to {MOST_STARS} * for anything")
    return list(dict.fromkeys(value))


@lru_cache(maxsize=10_000)
def compiled(pattern: str) -> re.Pattern[str]:
    """For `fullmatch` with topics. Each part but the last is found where it comes first, for good: nothing is tried twice."""
    first, *rest = (re.escape(part) for part in pattern.split("*"))
    found = "".join(f"(?>.*?{part})" for part in rest[:-1])
    return re.compile(first + found + "".join(f".*{part}" for part in rest[-1:]))


def matches(pattern: str, topic: str) -> bool:
    """Whether the topic is one of those that the pattern stands for."""
    return compiled(pattern).fullmatch(topic) is not None
