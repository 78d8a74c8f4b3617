"""What may be said of a client: each field checked, so that the policy never carries what a proxy cannot use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from messagebroker.db.models import Client
from messagebroker.errors import Refused
from messagebroker.ops import fields, patterns
from messagebroker.ops.fields import WrongField
from messagebroker.ops.names import is_topic

FIELDS = ("owner", "group_id", "default_topic", "topics", "rate", "max_batch")
"""Those that people set. `name` is for ever, and `disabled_at` has operations of its own."""

_HIGHEST = {"rate": 1_000_000, "max_batch": 100_000}


def checked(changes: Mapping[str, Any], before: Client | None = None) -> dict[str, Any]:
    """The columns that `changes` set, as they are stored. Inside the transaction that writes them.

    Raises:
        WrongField: a value will not do, or does not fit what stays.
    """
    columns: dict[str, Any] = {}
    for field, value in changes.items():
        if field not in FIELDS:
            raise WrongField(field, f"cannot be set; what can is {', '.join(FIELDS)}")
        columns["group" if field == "group_id" else field] = _CHECKS[field](field, value)
    topics = changes["topics"] if "topics" in changes else topics_of(before)
    default = str(changes.get("default_topic") or (before.default_topic if before else Client.default_topic.default))
    if topics is not None and not any(patterns.matches(pattern, default) for pattern in topics):
        raise WrongField("default_topic", f"{default} is none of the topics that the client may send to")
    return columns


def topics_of(row: Client | None) -> list[str] | None:
    """The patterns of a row; None: every topic."""
    return None if row is None or row.topics is None else msgspec.json.decode(row.topics, type=list[str])


def _default_topic(field: str, value: Any) -> str:
    if not isinstance(value, str) or not is_topic(value):
        raise WrongField(field, "is no topic: up to 200 of A-Z, a-z, 0-9 and . _ / -, beginning with a letter or digit")
    return value


def _topics(field: str, value: Any) -> str | None:
    if value is None:
        return None
    try:
        return msgspec.json.encode(patterns.checked(value)).decode()
    except Refused as error:
        raise WrongField(field, f"{error}; null is for every topic, and `disable` stops a client") from None


def _number(field: str, value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _HIGHEST[field]:
        raise WrongField(field, f"is a number from 1 to {_HIGHEST[field]}, or null for the system's limit")
    return value


_CHECKS = {
    "owner": fields.owner,
    "group_id": fields.group,
    "default_topic": _default_topic,
    "topics": _topics,
    "rate": _number,
    "max_batch": _number,
}
