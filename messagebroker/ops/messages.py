"""Reading what is plain of messages: pages in the order of an index, and one message under its own id or an alias."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import peewee as pw

from messagebroker.db.connection import connected
from messagebroker.db.models import PRIORITIES, IngestFailure, Message, MessageAlias
from messagebroker.errors import NotFound, Refused
from messagebroker.ops import cursors, ids

DUE_STATUSES = ("scheduled", "processing")
"""They have a `due_at`, and so are listed by it; every other status is listed by id."""

PLAIN = [field for field in Message._meta.sorted_fields if field is not Message.payload]


_FIRST_IDS = datetime(1970, 1, 1, tzinfo=UTC)  # ids count from here


class Unindexed(Refused):
    """No index serves this combination of filters."""


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


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which messages, in which order, from where on."""

    client: str | None = None
    status: str | None = None
    topic: str | None = None
    since: datetime | None = None  # accepted at or after
    until: datetime | None = None  # accepted before
    newest_first: bool = True
    limit: int = 50
    cursor: str | None = None


def page(filters: Filters) -> tuple[list[MessageView], str | None]:
    """One page, and the cursor of the next one (None: this was the last).

    Raises:
        Unindexed: no index serves these filters together.
        WrongCursor: the cursor is not one of this list.
    """
    _refuse_unindexed(filters)
    by_due = filters.status in DUE_STATUSES
    narrowed = _by_due(filters) if by_due else _by_id(filters)
    with connected():
        # the index alone finds the ids, at any depth; rows with their payloads are touched for one page only
        found = [bytes(row.id) for row in narrowed.limit(filters.limit + 1)]
        wanted = found[: filters.limit]
        rows = {bytes(row.id): row for row in Message.select(*PLAIN).where(Message.id.in_(wanted))} if wanted else {}
    listed = [rows[message_id] for message_id in wanted if message_id in rows]  # cleanup may have come between
    if len(found) <= filters.limit or not listed:
        return [_view(row) for row in listed], None
    last = listed[-1]
    return [_view(row) for row in listed], _cursor(last, by_due=by_due and last.due_at is not None)


def _cursor(last: Message, *, by_due: bool) -> str:
    return cursors.of_due(last.due_at, bytes(last.id)) if by_due else cursors.of_id(bytes(last.id))


def _refuse_unindexed(filters: Filters) -> None:
    possible = (
        "possible are none, `client` or `status`, each with `since` and `until` (not with status scheduled or processing)"
    )
    if filters.topic is not None:
        raise Unindexed(f"there is no index for `topic`; {possible}")
    if filters.client is not None and filters.status is not None:
        raise Unindexed(f"there is no index for `client` and `status` together; {possible}")
    if filters.status in DUE_STATUSES and (filters.since is not None or filters.until is not None):
        raise Unindexed(f"messages that are {filters.status} are in the order of `due_at`, without `since` and `until`")


def _by_id(filters: Filters) -> pw.ModelSelect[Message]:
    query = Message.select(Message.id)
    if filters.client is not None:
        query = query.where(Message.client_id == filters.client)
    if filters.status is not None:
        query = query.where(Message.status == filters.status, Message.due_at.is_null())  # then ids are in order in its index
    if filters.since is not None:
        query = query.where(Message.id >= _floor(filters.since))
    if filters.until is not None:
        query = query.where(Message.id < _floor(filters.until))
    if filters.cursor is not None:
        position = cursors.read_id(filters.cursor)
        query = query.where(Message.id < position if filters.newest_first else Message.id > position)
    return query.order_by(Message.id.desc() if filters.newest_first else Message.id)


def _floor(moment: datetime) -> bytes:
    return ids.floor(max(moment, _FIRST_IDS))


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


def _view(row: Message, asked_for: bytes | None = None) -> MessageView:
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


def find(message_id: bytes) -> MessageView:
    """What is plain of a message, also under an alias.

    Raises:
        NotFound: no such message is stored.
    """
    with connected():
        return _view(row_of(message_id, PLAIN), message_id)


def is_set_aside(message_id: bytes, client: str) -> bool:
    """Whether ingest could not store this client's message and keeps it for the operators."""
    with connected():
        kept = (IngestFailure.id == message_id) & (IngestFailure.client_id == client)
        return bool(IngestFailure.select().where(kept).exists())


def row_of(message_id: bytes, columns: list[pw.Field]) -> Message:
    """The row under this id or alias; NotFound when there is none. For callers with a connection."""
    row = Message.select(*columns).where(Message.id == message_id).get_or_none()
    if row is None:
        aliased = MessageAlias.select(MessageAlias.message).where(MessageAlias.id == message_id)
        row = Message.select(*columns).where(Message.id.in_(aliased)).get_or_none()
    if row is None:
        raise NotFound(f"message {ids.text(message_id)} is not stored")
    found: Message = row
    return found
