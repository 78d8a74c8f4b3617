"""GET /api/v1/messages: the list, without what is sealed; everybody's, a person's own, or a client's for its proxy."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import falcon
import msgspec

from messagebroker.http.decoding import answer, read_query
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.openapi import CERTIFICATE_OR_TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import keyring, messages
from messagebroker.ops.cursors import WrongCursor
from messagebroker.ops.filters import NARROWING, Filters, Unindexed
from messagebroker.ops.messages import MessageView
from messagebroker.ops.names import NAME, TOPIC
from messagebroker.ops.permissions import Permission
from messagebroker.ops.scope import Scope, scope_of
from messagebroker.settings import Settings

Status = Literal["scheduled", "pending", "processing", "delivered", "failed", "expired", "cancelled"]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
ClientName = Annotated[str, msgspec.Meta(pattern=NAME)]
_FOR_PROXIES = frozenset({"client", "status"})
"""Filters that a proxy may pass on."""


class MessageQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Filters that an index serves together; others are a 400 that names those."""

    client: ClientName | None = None
    status: Status | None = None
    topic: Annotated[str, msgspec.Meta(pattern=TOPIC)] | None = None
    correlation_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    sender: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    since: Instant | None = None
    until: Instant | None = None
    order: Literal["desc", "asc"] = "desc"
    limit: Limit = 50
    cursor: Cursor | None = None


class MessagePage(msgspec.Struct, kw_only=True):
    """Part of a list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[MessageView]
    next: str | None


class Messages:
    """In the order of ids, which is the order of acceptance; of all scheduled or processing ones in the order of `due_at`."""

    rights: ClassVar = {"GET": Right(permission=Permission.MESSAGES_LIST, own=Permission.MESSAGES_OWN, component="proxy")}
    operations: ClassVar = (
        Operation(
            "GET", "/api/v1/messages", "List messages", responses={200: MessagePage}, query=MessageQuery,
            security=CERTIFICATE_OR_TOKEN, tag="messages",
            description="Who may list everybody's sees all of them, others those of their clients, groups and topics. "
            "`sender` is compared exactly, by its keyed hash. Filters without an index: 400 `filter-not-indexed`.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._sender_key = keyring.sender_key(settings)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page, newest first unless asked otherwise."""
        query = read_query(request, MessageQuery)
        caller: Caller = request.context.caller
        filters = self._filters(query)
        if caller.component is not None:
            require_client(query.client)
            if filters.named - _FOR_PROXIES:
                raise Problem(400, "filter-not-indexed", "a client's list takes `status`, `since` and `until`")
        items, following = paged(filters, None if caller.component is not None else scope_for(caller))
        answer(response, MessagePage(items=items, next=following))

    def _filters(self, query: MessageQuery) -> Filters:
        given: dict[str, Any] = {name: getattr(query, name) for name in NARROWING}
        if query.sender is not None:
            given["sender"] = keyring.sender_hash(self._sender_key, query.sender)
        return Filters(
            **given,
            since=query.since,
            until=query.until,
            newest_first=query.order == "desc",
            limit=query.limit,
            cursor=query.cursor,
        )


def paged(filters: Filters, scope: Scope | None) -> tuple[list[MessageView], str | None]:
    """The page, or the problem with what was asked for."""
    try:
        return messages.page(filters, scope)
    except Unindexed as error:
        raise Problem(400, "filter-not-indexed", str(error)) from None
    except WrongCursor as error:
        raise Problem(400, "invalid-parameter", str(error), field="cursor") from None


def scope_for(caller: Caller, whole: Permission = Permission.MESSAGES_LIST) -> Scope | None:
    """What a person may see: None is everything, for those who have the permission `whole`."""
    assert caller.person is not None
    return None if caller.may(whole) else scope_of(caller.person)


def require_client(client: str | None) -> str:
    """The client that a proxy speaks for."""
    if client is None:
        raise Problem(400, "invalid-parameter", "name the client that asks", field="client")
    return client
