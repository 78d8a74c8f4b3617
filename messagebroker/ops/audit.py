"""The audit log: who did what to which object. Rows are inserted and read, never changed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.errors import Refused
from messagebroker.ops import audit_rows, clock

AuditEntry: Any = models.AuditEntry  # the stubs of peewee know no columns
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)

LONGEST_ACTOR = 254


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who acts, and from where. `name` is `user:EMAIL`, `component:ROLE` or `cli:OS-USER`, as long as its columns are."""

    name: str
    address: str | None = None
    user_agent: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name[:LONGEST_ACTOR])


def record(
    actor: str,
    action: str,
    object_type: str,
    object_id: str,
    address: str | None = None,
    user_agent: str | None = None,
    details: dict[str, Any] | None = None,
) -> None:
    """Adds a row, inside the caller's transaction when there is one. `details` must hold no secret.

    Example: record("user:a@b.c", "message.read", "message", "0190…", address="192.0.2.7")
    """
    row = {
        "created_at": clock.now(),
        "actor": actor,
        "action": action,
        "object_type": object_type,
        "object_id": object_id[:254],
        "address": ascii_text(address, 45),
        "user_agent": printable(user_agent, 255),
        "details": json.dumps(details, ensure_ascii=False, default=str) if details else None,
    }
    with connected():
        AuditEntry.insert(**row, signature=audit_rows.signature(row)).execute()


def record_by(actor: Actor, action: str, object_type: str, object_id: str, details: dict[str, Any] | None = None) -> None:
    """The same for an `Actor`."""
    record(actor.name, action, object_type, object_id, actor.address, actor.user_agent, details)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row as readers see it."""

    id: int
    created_at: datetime
    actor: str
    action: str
    object_type: str
    object_id: str
    address: str | None
    user_agent: str | None
    details: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which rows. Of actor, action and object one at most may be given: each has an index that ends in the time."""

    actor: str | None = None
    action: str | None = None
    object_type: str | None = None
    object_id: str | None = None
    since: datetime | None = None  # at or after
    until: datetime | None = None  # before


class Unindexed(Refused):
    """No index serves this combination of filters."""


EVERYTHING = Filters()
Position = tuple[datetime, int]
"""Of a row in the order of time, then id."""


def page(*, limit: int, newest_first: bool = True, after: Position | None = None, filters: Filters = EVERYTHING) -> list[Entry]:
    """Up to `limit` rows in the order of time, those that come after the row at `after` in that order.

    Raises:
        Unindexed: no index serves these filters together.
    """
    refuse_unindexed(filters)
    at, row_id = AuditEntry.created_at, AuditEntry.id
    conditions = [getattr(AuditEntry, name) == value for name, value in _equalities(filters)]
    if filters.since is not None:
        conditions.append(at >= _storable(filters.since))
    if filters.until is not None:
        conditions.append(at < _storable(filters.until))
    if after is not None:  # not as one comparison of pairs, for which MySQL uses no index
        moment, number = after
        following = (at < moment) | (row_id < number) if newest_first else (at > moment) | (row_id > number)
        conditions += [at <= moment if newest_first else at >= moment, following]
    query = AuditEntry.select(row_id)
    if conditions:
        query = query.where(*conditions)
    order = (at.desc(), row_id.desc()) if newest_first else (at, row_id)
    with connected():
        # the index alone finds the ids, at any depth; asked for whole rows, MariaDB walks there from the beginning
        wanted = [row[0] for row in query.order_by(*order).limit(limit).tuples()]
        rows = {row.id: row for row in AuditEntry.select().where(row_id.in_(wanted))} if wanted else {}
    return [_entry(rows[number]) for number in wanted if number in rows]


def refuse_unindexed(filters: Filters) -> None:
    """Raises Unindexed where `page` would."""
    given = dict(_equalities(filters))
    if not given or given.keys() in ({"actor"}, {"action"}, {"object_type", "object_id"}):
        return
    raise Unindexed(
        f"no index serves {' with '.join(given)}; give one of actor, action, or object_type with object_id;"
        " since and until go with each"
    )


def _equalities(filters: Filters) -> list[tuple[str, str]]:
    names = ("actor", "action", "object_type", "object_id")
    return [(name, value) for name in names if (value := getattr(filters, name)) is not None]


def _storable(moment: datetime) -> datetime:
    """Within the years that every database knows; nothing is older than 1970."""
    return min(max(moment, _FIRST), _LAST)


def _entry(row: models.AuditEntry) -> Entry:
    return Entry(
        id=row.id,
        created_at=row.created_at,
        actor=row.actor,
        action=row.action,
        object_type=row.object_type,
        object_id=row.object_id,
        address=row.address,
        user_agent=row.user_agent,
        details=_details(row.details),
    )


def _details(text: str | None) -> dict[str, Any] | None:
    """A row that somebody changed by hand must not hide the rows beside it."""
    if not text:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {"unreadable": text}
    return found if isinstance(found, dict) else {"unreadable": text}


def ascii_text(text: str | None, length: int) -> str | None:
    """ASCII of at most `length` characters, for a column that holds no more."""
    return None if text is None else text.encode("ascii", "replace").decode()[:length]


def printable(text: str | None, length: int) -> str | None:
    """A stranger writes this: no line ends or control characters that would forge lines where it is shown."""
    return None if text is None else re.sub(r"[^\x20-\x7e]", "?", text)[:length]
