"""Reading what is plain of messages: pages in the order of an index, and one message under its own id or an alias."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import peewee as pw

from messagebroker.db.connection import connected
from messagebroker.db.models import PRIORITIES, IngestFailure, Message, MessageAlias
from messagebroker.errors import NotFound
from messagebroker.ops import cursors, ids, ranges
from messagebroker.ops.filters import Filters, Unindexed
from messagebroker.ops.scope import Scope

DUE_STATUSES = ("scheduled", "processing")
"""They have a `due_at`; asked for alone they are listed by it, and every other list is in the order of ids."""

PLAIN = [field for field in Message._meta.sorted_fields if field is not Message.payload]


class MessageView(msgspec.Struct, kw_only=True):
    """What is plain of a message. `alias_of`: this id is a later copy's, and that one is stored."""

    message_id: str
    client_id: str
    topic: str
    priority: str
    status: str
    created_at: datetime
    stored_at: datetime
    due_at: datetime | None
    expires_at: datetime | None
    routed: int
    attempts: int
    size: int
    correlation_id: str | None
    traceparent: str | None
    alias_of: str | None = None


def page(filters: Filters, scope: Scope | None = None) -> tuple[list[MessageView], str | None]:
    """One page, and the cursor of the next one (None: this was the last).

    Args:
        filters: which messages.
        scope: what the person who asks may see; None: everything.

    Raises:
        Unindexed: no index serves these filters together.
        WrongCursor: the cursor is not one of this list.
    """
    by_due = scope is None and filters.named == {"status"} and filters.status in DUE_STATUSES
    with connected():
        # indexes alone find the ids, at any depth; rows with their payloads are touched for one page only
        found = _ids_by_due(filters) if by_due else _ids_by_id(filters, scope)
        wanted = found[: filters.limit]
        rows = {bytes(row.id): row for row in Message.select(*PLAIN).where(Message.id.in_(wanted))} if wanted else {}
    listed = [rows[message_id] for message_id in wanted if message_id in rows]  # cleanup may have come between
    if len(found) <= filters.limit or not listed:
        return [view(row) for row in listed], None
    last = listed[-1]
    return [view(row) for row in listed], _cursor(last, by_due=by_due and last.due_at is not None)


def _cursor(last: Message, *, by_due: bool) -> str:
    return cursors.of_due(last.due_at, bytes(last.id)) if by_due else cursors.of_id(bytes(last.id))


def _ids_by_id(filters: Filters, scope: Scope | None) -> list[bytes]:
    parts = filters.ranges() if scope is None else filters.ranges_in(scope)
    return ranges.ids_in(parts, filters.window())


def _ids_by_due(filters: Filters) -> list[bytes]:
    if filters.since is not None or filters.until is not None:
        raise Unindexed(
            f"messages that are {filters.status} are in the order of `due_at`, without `since` and `until`; "
            "those of one `client` or `topic` are in the order of ids, with them"
        )
    return [bytes(row.id) for row in _by_due(filters).limit(filters.limit + 1)]


def _by_due(filters: Filters) -> pw.ModelSelect[Message]:
    query = Message.select(Message.id).where(Message.status == filters.status, Message.due_at.is_null(False))
    due, message_id = Message.due_at, Message.id
    if filters.cursor is not None:
        at, position = cursors.read_due(filters.cursor)
        if filters.newest_first:
            query = query.where((due < at) | ((due == at) & (message_id < position)))
        else:
            query = query.where((due > at) | ((due == at) & (message_id > position)))
    order = (due.desc(), message_id.desc()) if filters.newest_first else (due, message_id)
    return query.order_by(*order)


def view(row: Message, asked_for: bytes | None = None) -> MessageView:
    """Of a row with its plain columns, under the id that was asked for."""
    return MessageView(**plain_members(row, asked_for))


def plain_members(row: Message, asked_for: bytes | None) -> dict[str, Any]:
    """The members of a view, under the id that was asked for."""
    own = bytes(row.id)
    is_alias = asked_for is not None and asked_for != own
    return {
        "message_id": ids.text(asked_for if asked_for is not None else own),
        "alias_of": ids.text(own) if is_alias else None,
        "priority": PRIORITIES[row.priority] if 0 <= row.priority < len(PRIORITIES) else "unknown",  # changed by hand
        **{name: getattr(row, name) for name in _AS_THEY_ARE},
    }


_AS_THEY_ARE = (
    "client_id", "topic", "status", "created_at", "stored_at", "due_at", "expires_at", "routed", "attempts", "size",
    "correlation_id", "traceparent",
)  # fmt: skip


def find(message_id: bytes, scope: Scope | None = None) -> MessageView:
    """What is plain of a message, also under an alias.

    Raises:
        NotFound: no such message is stored, or it is outside of the scope: nobody learns which.
    """
    with connected():
        return view(row_of(message_id, PLAIN, scope), message_id)


def is_set_aside(message_id: bytes, client: str) -> bool:
    """Whether ingest could not store this client's message and keeps it for the operators."""
    with connected():
        kept = (IngestFailure.id == message_id) & (IngestFailure.client_id == client)
        return bool(IngestFailure.select().where(kept).exists())


def row_of(message_id: bytes, columns: list[pw.Field], scope: Scope | None = None) -> Message:
    """The row under this id or alias; NotFound when there is none in the scope. For callers with a connection."""
    row = Message.select(*columns).where(Message.id == message_id).get_or_none()
    if row is None:
        aliased = MessageAlias.select(MessageAlias.message).where(MessageAlias.id == message_id)
        row = Message.select(*columns).where(Message.id.in_(aliased)).get_or_none()
    if row is None or (scope is not None and not scope.includes(row.client_id, row.topic)):
        raise NotFound(f"message {ids.text(message_id)} is not stored")
    found: Message = row
    return found
