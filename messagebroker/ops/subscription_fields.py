"""What may be said of a subscription: each field checked, with the field named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from messagebroker.db.models import Client, Subscription
from messagebroker.errors import Refused
from messagebroker.ops import fields, patterns
from messagebroker.ops.channels import CHANNELS, Entry
from messagebroker.ops.fields import WrongField
from messagebroker.ops.names import is_name
from messagebroker.ops.validation import explain

FIELDS = (
    "name", "channel", "topics", "filter", "owner", "group_id", "client", "config", "secrets", "schedule", "ordered_by",
)  # fmt: skip
"""Those that people set; `channel` is for ever."""

ORDERS = ("client", "topic", "sender", "correlation_id")
"""What messages of a pull can have in common that have to come in order."""

LONGEST_NAME = 100
MOST_TRIES = 30
LONGEST_PAUSE = 7 * 86_400  # seconds
LARGEST_CONFIG, LARGEST_FILTER = 60_000, 16_000  # bytes of their JSON: a column of MySQL holds 65,535


class Filter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a message must be beside its topic: of one of these priorities, with all of these members in its metadata."""

    priorities: Annotated[list[Literal["critical", "high", "normal", "low"]], Meta(min_length=1, max_length=4)] | None = None
    metadata: (
        Annotated[
            dict[Annotated[str, Meta(min_length=1, max_length=100)], str | int | float | bool | None],
            Meta(min_length=1, max_length=20),
        ]
        | None
    ) = None


def entry_of(channel: Any) -> Entry:
    """The channel of that name; raises WrongField."""
    entry = CHANNELS.get(channel) if isinstance(channel, str) else None
    if entry is None:
        raise WrongField("channel", f"there is no such channel; there are {', '.join(CHANNELS)}")
    return entry


def checked(entry: Entry, given: Mapping[str, Any], before: Subscription | None = None) -> dict[str, Any]:
    """The columns that `given` sets, but for secrets. Inside the transaction that writes them.

    Raises:
        WrongField: a value will not do, or does not fit what stays.
    """
    columns: dict[str, Any] = {}
    for field, value in given.items():
        if field not in FIELDS or (field == "channel" and before is not None):
            raise WrongField(field, f"cannot be set; what can is {', '.join(FIELDS)}, and the channel when it is created")
        if field == "config":
            columns["config"] = _config(entry, value, before)
        elif field not in ("secrets", "channel"):
            columns["group" if field == "group_id" else field] = _CHECKS[field](field, value)
    if before is None:
        columns = {"config": _config(entry, {}, None), **columns} if "config" not in columns else columns
        _require(columns, "name", "topics")
    _hold_to_channel(entry, columns, before)
    return columns


def read(entry: Entry, part: Literal["config", "secrets"], value: Any) -> Any:
    """A document as the channel's struct; raises WrongField with the place inside of it."""
    kind = entry.config if part == "config" else entry.secrets
    if kind is None:
        raise WrongField(part, f"the channel {entry.name} has none")
    if not isinstance(value, Mapping):
        raise WrongField(part, "is an object")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        detail, place = explain(error)
        raise WrongField(f"{part}.{place}" if place else part, detail) from None


def merged(before: Struct | None, given: Any, part: str) -> dict[str, Any]:
    """What was said before with what is said now; null stands for the default."""
    if not isinstance(given, Mapping):
        raise WrongField(part, "is an object")
    whole = {**({} if before is None else msgspec.to_builtins(before)), **given}
    return {name: value for name, value in whole.items() if value is not None}


def topics_of(row: Subscription) -> list[str]:
    """The patterns of a row."""
    return msgspec.json.decode(row.topics, type=list[str])


def filter_of(row: Subscription) -> Filter | None:
    """The filter of a row."""
    return None if row.filter is None else msgspec.json.decode(row.filter, type=Filter)


def schedule_of(row: Subscription) -> list[float] | None:
    """Seconds between attempts; None: the default."""
    return None if row.schedule is None else msgspec.json.decode(row.schedule, type=list[float])


def config_of(row: Subscription) -> Any:
    """The configuration of a row as its channel's struct; as it is, where this program does not have the channel: an older
    one than the program that made it, perhaps."""
    entry = CHANNELS.get(row.channel)
    return msgspec.json.decode(row.config, type=Any if entry is None else entry.config)


def _config(entry: Entry, value: Any, before: Subscription | None) -> str:
    whole = merged(None if before is None else config_of(before), value, "config")
    return _within("config", _text(read(entry, "config", whole)), LARGEST_CONFIG)


def _hold_to_channel(entry: Entry, columns: dict[str, Any], before: Subscription | None) -> None:
    """Only a pull has somebody who takes, and an order."""
    pulls = entry.place is None
    client = columns.get("client", before.client if before else None)
    if pulls and client is None:
        raise WrongField("client", f"the channel {entry.name} needs a client, who takes the messages")
    for field in ("client", "ordered_by"):
        if not pulls and columns.get(field) is not None:
            raise WrongField(field, f"the channel {entry.name} has none; it is for pull")
    if pulls and columns.get("schedule") is not None:
        raise WrongField("schedule", "the client of a pull decides when it tries again")


def _require(columns: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if name not in columns:
            raise WrongField(name, "is missing")


def _name(field: str, value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not (0 < len(text) <= LONGEST_NAME and text.isprintable()):
        raise WrongField(field, f"has 1 to {LONGEST_NAME} printable characters")
    return text


def _topics(field: str, value: Any) -> str:
    try:
        return _text(patterns.checked(value))
    except Refused as error:
        raise WrongField(field, str(error)) from None


def _filter(field: str, value: Any) -> str | None:
    if value is None:
        return None
    try:
        made = msgspec.convert(value, Filter)
    except msgspec.ValidationError as error:
        detail, place = explain(error)
        raise WrongField(f"{field}.{place}" if place else field, detail) from None
    return None if made == Filter() else _within(field, _text(made), LARGEST_FILTER)


def _client(field: str, value: Any) -> str | None:
    if value is None:
        return None
    known = isinstance(value, str) and is_name(value) and Client.select().where(Client.name == value).exists()
    if not known:
        raise WrongField(field, f"there is no client {str(value)[:63]!r}; `messagebroker clients register` makes one")
    return str(value)


def _schedule(field: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_TRIES or not all(map(_is_pause, value)):
        raise WrongField(field, f"is a list of 1 to {MOST_TRIES} pauses of 0 to {LONGEST_PAUSE} seconds, one before each try")
    return _text(value)


def _is_pause(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_PAUSE


def _ordered_by(field: str, value: Any) -> str | None:
    if value is not None and value not in ORDERS:
        raise WrongField(field, f"is one of {', '.join(ORDERS)}, or null")
    return None if value is None else str(value)


def _within(field: str, text: str, most: int) -> str:
    if len(text.encode()) > most:
        raise WrongField(field, f"has {len(text.encode()):,} bytes as JSON; {most:,} are allowed")
    return text


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "name": _name,
    "topics": _topics,
    "filter": _filter,
    "owner": fields.owner,
    "group_id": fields.group,
    "client": _client,
    "schedule": _schedule,
    "ordered_by": _ordered_by,
}
