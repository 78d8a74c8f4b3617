"""What may be said of a client: each field checked, so that the policy never carries what a proxy cannot use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from messagebroker.db.models import Client, Group, User
from messagebroker.errors import Refused
from messagebroker.ops.names import is_topic
from messagebroker.ops.users import normal_email

FIELDS = ("owner", "group_id", "default_topic", "topics", "rate", "max_batch")
"""Those that people set. `name` is for ever, and `disabled_at` has operations of its own."""

MAX_TOPICS = 200
_MAX_STARS = 3  # each multiplies what a proxy tries to match a topic
_HIGHEST = {"rate": 1_000_000, "max_batch": 100_000}
_is_pattern = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._/*-]{0,199}").fullmatch


class WrongField(Refused):
    """A value that will not do; `field` names it."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field
        self.text = text


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
    if topics is not None and not any(_matches(pattern, default) for pattern in topics):
        raise WrongField("default_topic", f"{default} is none of the topics that the client may send to")
    return columns


def topics_of(row: Client | None) -> list[str] | None:
    """The patterns of a row; None: every topic."""
    return None if row is None or row.topics is None else msgspec.json.decode(row.topics, type=list[str])


def _owner(field: str, value: Any) -> str | None:
    if value is None:
        return None
    try:
        email = normal_email(str(value))
    except Refused as error:
        raise WrongField(field, str(error)) from None
    user = User.get_or_none(User.email == email)
    if user is None or user.email != email:  # else whoever is given that address later would own the client
        raise WrongField(field, f"there is no user {email}; `messagebroker users create` makes one")
    return email


def _group(field: str, value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or not Group.select().where(Group.id == value).exists():
        raise WrongField(field, f"there is no group {value}")
    return value


def _default_topic(field: str, value: Any) -> str:
    if not isinstance(value, str) or not is_topic(value):
        raise WrongField(field, "is no topic: up to 200 of A-Z, a-z, 0-9 and . _ / -, beginning with a letter or digit")
    return value


def _topics(field: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_TOPICS:
        raise WrongField(field, f"is a list of 1 to {MAX_TOPICS} topics, or null for every topic; `disable` stops a client")
    for pattern in value:
        if not isinstance(pattern, str) or not _is_pattern(pattern) or pattern.count("*") > _MAX_STARS or "**" in pattern:
            raise WrongField(field, f"{str(pattern)[:80]!r} is no topic with up to {_MAX_STARS} * for anything")
    return msgspec.json.encode(list(dict.fromkeys(value))).decode()


def _number(field: str, value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _HIGHEST[field]:
        raise WrongField(field, f"is a number from 1 to {_HIGHEST[field]}, or null for the system's limit")
    return value


def _matches(pattern: str, topic: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), topic) is not None


_CHECKS = {
    "owner": _owner,
    "group_id": _group,
    "default_topic": _default_topic,
    "topics": _topics,
    "rate": _number,
    "max_batch": _number,
}
