"""The catalogue of topics: what they are for, what their messages look like. Changes are published to the proxies at once.

Messages may be on topics that it does not name. An entry stays until somebody removes it; that removes no message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import msgspec
import peewee as pw

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.errors import Conflict, NotFound
from messagebroker.ops import audit, clock, policy
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change as changing
from messagebroker.ops.changes import locked
from messagebroker.ops.fields import WrongField
from messagebroker.ops.names import is_topic
from messagebroker.ops.policy import Told
from messagebroker.ops.topic_fields import FIELDS, checked
from messagebroker.settings import Settings

Topic: Any = models.Topic  # the stubs of peewee know no columns

MOST_BYTES = 1 << 20
"""Of all schemas together: every proxy gets them all with each policy."""


@dataclass(frozen=True, kw_only=True)
class TopicLine:
    """A topic as lists show it."""

    name: str
    description: str
    has_schema: bool
    deprecated_at: datetime | None  # since when; None: it is not
    must_route: bool  # a message that nobody subscribed to is a failed one
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class TopicEntry(TopicLine):
    """The whole of a topic."""

    schema: dict[str, Any] | None  # JSON Schema that bodies are checked against


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A topic as it is now; the number of the policy that says so, or why the proxies do not know it yet."""

    topic: TopicEntry
    policy_number: int | None
    note: str | None


Check = Callable[[TopicEntry], None]
"""Looks at a topic before it is changed, with its row locked; raises when it should not be."""


def page(*, limit: int, after: str | None = None) -> list[TopicLine]:
    """Up to `limit` topics by name, those that come after `after`."""
    has_schema = Topic.schema.is_null(False)
    columns = (Topic.name, Topic.description, has_schema, Topic.deprecated_at, Topic.must_route, Topic.created_at)
    query = Topic.select(*columns).order_by(Topic.name).limit(limit)
    with connected():
        rows = list((query if after is None else query.where(Topic.name > after)).tuples())
    return [
        TopicLine(
            name=name,
            description=description,
            has_schema=bool(has),
            deprecated_at=deprecated_at,
            must_route=must_route,
            created_at=created_at,
        )
        for name, description, has, deprecated_at, must_route, created_at in rows
    ]


def find(name: str) -> TopicEntry:
    """One topic.

    Raises:
        NotFound: the catalogue has none of that name.
    """
    with connected():
        return _entry(_row(name))


def must_route_topics() -> frozenset[str]:
    """Those whose messages fail when nobody subscribed to them. Read from an index alone."""
    with connected():
        return frozenset(row[0] for row in Topic.select(Topic.name).where(Topic.must_route == True).tuples())  # noqa: E712


def create(settings: Settings, name: str, fields: Mapping[str, Any], actor: Actor) -> Changed:
    """A new entry; what `fields` leaves out is empty or false.

    Raises:
        WrongField: the name or a value will not do.
        Conflict: there is such a topic.
    """
    if is_topic(name) is None:
        raise WrongField("name", "is no topic: up to 200 of A-Z, a-z, 0-9 and . _ / -, beginning with a letter or digit")
    columns = _columns(checked(fields), None)
    with changing():
        _hold_to_room(name, columns)
        try:
            Topic.insert(name=name, created_at=clock.now(), **columns).execute()
        except pw.IntegrityError as error:
            raise Conflict(f"there is a topic {name} already") from error
        entry = _entry(_row(name))
        audit.record_by(actor, "topic.create", "topic", name, _plain(entry, FIELDS))
    return _published(settings, entry)


def change(settings: Settings, name: str, fields: Mapping[str, Any], actor: Actor, *, check: Check | None = None) -> Changed:
    """Sets some fields; the others stay.

    Raises:
        NotFound: there is no such topic.
        WrongField: a value will not do.
    """
    values = checked(fields)
    with changing():
        before = _locked(name, check)
        columns = _columns(values, before)
        _hold_to_room(name, columns)
        if columns:
            Topic.update(**columns).where(Topic.name == name).execute()
        entry = _entry(_row(name))
        changed = [field for field in FIELDS if _plain(before, [field]) != _plain(entry, [field])]
        if changed:
            details = {"before": _plain(before, changed), "after": _plain(entry, changed)}
            audit.record_by(actor, "topic.change", "topic", name, details)
    return _published(settings, entry)


def remove(settings: Settings, name: str, actor: Actor, *, check: Check | None = None) -> Told:
    """Takes an entry out of the catalogue. The topic's messages stay, new ones are still taken and no longer checked.

    Raises:
        NotFound: there is no such topic.
    """
    with changing():
        before = _locked(name, check)
        Topic.delete().where(Topic.name == name).execute()
        audit.record_by(actor, "topic.remove", "topic", name, _plain(before, FIELDS))  # enough to make it again
    return policy.tell(settings)


def _columns(values: dict[str, Any], before: TopicEntry | None) -> dict[str, Any]:
    columns = {field: value for field, value in values.items() if field != "deprecated"}
    since = before.deprecated_at if before else None
    if "deprecated" in values:
        columns["deprecated_at"] = (since or clock.now()) if values["deprecated"] else None
    return columns


def _hold_to_room(name: str, columns: dict[str, Any]) -> None:
    if columns.get("schema") is None:
        return
    others = Topic.select(pw.fn.COALESCE(pw.fn.SUM(pw.fn.LENGTH(Topic.schema)), 0)).where(Topic.name != name).scalar()
    if int(others) + len(columns["schema"].encode()) > MOST_BYTES:
        text = (
            f"all schemas together may have {MOST_BYTES:,} bytes, for every proxy holds them; the others have {int(others):,}"
        )
        raise WrongField("schema", text)


def _row(name: str) -> Any:
    row = Topic.get_or_none(Topic.name == name) if is_topic(name) else None  # other letters are an error on MySQL
    if row is None:
        raise _absent(name)
    return row


def _locked(name: str, check: Check | None) -> TopicEntry:
    row = locked(Topic.select().where(Topic.name == name)).first() if is_topic(name) else None
    if row is None:
        raise _absent(name)
    entry = _entry(row)
    if check is not None:
        check(entry)
    return entry


def _absent(name: str) -> NotFound:
    return NotFound(f"there is no topic {name[:200]!r} in the catalogue")


def _entry(row: Any) -> TopicEntry:
    return TopicEntry(
        name=row.name,
        description=row.description,
        schema=None if row.schema is None else msgspec.json.decode(row.schema, type=dict[str, Any]),
        has_schema=row.schema is not None,
        deprecated_at=row.deprecated_at,
        must_route=row.must_route,
        created_at=row.created_at,
    )


def _published(settings: Settings, entry: TopicEntry) -> Changed:
    told = policy.tell(settings)
    return Changed(topic=entry, policy_number=told.number, note=told.note)


def _plain(entry: TopicEntry, fields: Any) -> dict[str, Any]:
    whole = {**asdict(entry), "deprecated": entry.deprecated_at is not None}
    return {field: whole[field] for field in fields}
