"""GET /api/v1/messages: the list, without what is sealed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

import falcon
import msgspec

from messagebroker.http.decoding import answer, read_query
from messagebroker.http.main.callers import Right
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import messages
from messagebroker.ops.cursors import WrongCursor
from messagebroker.ops.messages import Filters, MessageView, Unindexed
from messagebroker.ops.names import NAME, TOPIC
from messagebroker.ops.permissions import Permission

Status = Literal["scheduled", "pending", "processing", "delivered", "failed", "expired", "cancelled"]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class MessageQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Filters that an index serves together; others are a 400 that names those."""

    client: Annotated[str, msgspec.Meta(pattern=NAME)] | None = None
    status: Status | None = None
    topic: Annotated[str, msgspec.Meta(pattern=TOPIC)] | None = None
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
    """In the order of ids, which is the order of acceptance; scheduled and processing ones in the order of `due_at`."""

    rights: ClassVar = {"GET": Right(permission=Permission.MESSAGES_LIST)}
    operations: ClassVar = (
        Operation(
            "GET", "/api/v1/messages", "List messages", responses={200: MessagePage}, query=MessageQuery, security=TOKEN,
            tag="messages",
        ),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page, newest first unless asked otherwise."""
        query = read_query(request, MessageQuery)
        filters = Filters(
            client=query.client,
            status=query.status,
            topic=query.topic,
            since=query.since,
            until=query.until,
            newest_first=query.order == "desc",
            limit=query.limit,
            cursor=query.cursor,
        )
        try:
            items, following = messages.page(filters)
        except Unindexed as error:
            raise Problem(400, "filter-not-indexed", str(error)) from None
        except WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        answer(response, MessagePage(items=items, next=following))
