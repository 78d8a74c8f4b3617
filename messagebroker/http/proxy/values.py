"""Checks of values that types cannot express. Each raises a problem that names the field."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from messagebroker.http.problems import Problem
from messagebroker.http.proxy.faults import invalid
from messagebroker.ops import clock
from messagebroker.ops.names import is_topic
from messagebroker.ops.patterns import matches
from messagebroker.settings import Settings

_json = msgspec.json.Encoder().encode
_LAST = clock.micros(datetime(9999, 12, 31, tzinfo=UTC))
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1  # what MessagePack carries


class Limits:
    """Sizes of one message, from the settings."""

    def __init__(self, settings: Settings) -> None:
        self.body_bytes = settings.max_body_bytes
        self.metadata_bytes = settings.max_metadata_bytes
        self.metadata_depth = settings.max_metadata_depth

    def check_body(self, size: int) -> None:
        """Of the body, in bytes; types refuse empty ones where a body must be."""
        if size > self.body_bytes:
            raise Problem(413, "body-too-large", f"the body has {size} bytes; {self.body_bytes} are allowed", field="body")

    def check_metadata(self, metadata: dict[str, Any]) -> None:
        """Size as compact JSON, and depth. Numbers that are too large show when they are encoded."""
        for value in metadata.values():
            if value.__class__ is dict or value.__class__ is list:
                self._check_depth(metadata, 1, "metadata")
                break
        size = len(_json(metadata))
        if size > self.metadata_bytes:
            raise invalid("metadata", f"has {size} bytes as JSON; {self.metadata_bytes} are allowed")

    def _check_depth(self, value: Any, depth: int, path: str) -> None:
        if depth > self.metadata_depth:
            raise invalid(path, f"metadata may be nested {self.metadata_depth} levels deep")
        inner = ((f".{key}", item) for key, item in value.items()) if isinstance(value, dict) else _numbered(value)
        for step, item in inner:
            if isinstance(item, dict | list):
                self._check_depth(item, depth + 1, path + step)


def _numbered(values: list[Any]) -> Any:
    return ((f"[{index}]", item) for index, item in enumerate(values))


def number_out_of_range(metadata: dict[str, Any]) -> Problem:
    """The problem for an integer that MessagePack refused."""
    return invalid(_too_large(metadata, "metadata") or "metadata", "the number is out of range (64 bits)")


def _too_large(value: Any, path: str) -> str | None:
    if isinstance(value, int):
        return None if _SMALLEST <= value <= _LARGEST else path
    steps: Any = ()
    if isinstance(value, dict):
        steps = ((f".{key}", item) for key, item in value.items())
    elif isinstance(value, list):
        steps = _numbered(value)
    return next((found for step, item in steps if (found := _too_large(item, path + step))), None)


def instant(moment: datetime, field: str) -> int:
    """Microseconds since 1970; refuses what no database column holds."""
    value = clock.micros(moment)
    if not 0 <= value <= _LAST:
        raise invalid(field, "the date is out of range (1970 to 9999)")
    return value


@lru_cache(maxsize=4096)
def topic_problem(topic: str, patterns: tuple[str, ...] | None) -> str | None:
    """The name of the problem with a topic, None when the client may use it. `*` in a pattern stands for anything."""
    if not is_topic(topic):
        return "invalid-field"
    if patterns is None or any(matches(pattern, topic) for pattern in patterns):
        return None
    return "topic-not-allowed"


def refuse_topic(name: str, topic: str) -> Problem:
    """The problem that `topic_problem` named."""
    if name == "topic-not-allowed":
        return Problem(403, name, f"this client may not send to the topic {topic}", field="topic")
    return invalid("topic", "is no topic: up to 200 of A-Z, a-z, 0-9 and . _ / -, beginning with a letter or digit")
