"""The audit log: who did what to which object. Rows are inserted and read, never changed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from messagebroker.db.connection import connected
from messagebroker.db.models import AuditEntry
from messagebroker.ops import audit_rows, clock


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who acts, and from where. `name` is `user:EMAIL`, `component:ROLE` or `cli:OS-USER`."""

    name: str
    address: str | None = None
    user_agent: str | None = None


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
        "address": _ascii(address, 45),
        "user_agent": _printable(user_agent, 255),
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


def page(*, limit: int, newest_first: bool = True, after: int | None = None) -> list[Entry]:
    """Up to `limit` rows by id, those that come after the row `after` in that order."""
    query = AuditEntry.select()
    if after is not None:
        query = query.where(AuditEntry.id < after if newest_first else AuditEntry.id > after)
    query = query.order_by(AuditEntry.id.desc() if newest_first else AuditEntry.id).limit(limit)
    with connected():
        return [_entry(row) for row in query]


def _entry(row: AuditEntry) -> Entry:
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


def _ascii(text: str | None, length: int) -> str | None:
    return None if text is None else text.encode("ascii", "replace").decode()[:length]


def _printable(text: str | None, length: int) -> str | None:
    """A stranger writes this: no line ends or control characters that would forge lines where it is shown."""
    return None if text is None else re.sub(r"[^\x20-\x7e]", "?", text)[:length]
