"""GET /api/v1/clients: who may send, and what the policy says of them."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import falcon
import msgspec

from messagebroker.http.decoding import answer, read_query
from messagebroker.http.main.callers import Right
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import clients, cursors
from messagebroker.ops.permissions import Permission


class ClientQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How much, from where on."""

    limit: Limit = 50
    cursor: Cursor | None = None


class ClientView(msgspec.Struct, kw_only=True):
    """A sender. `topics` null: every topic; `rate` and `max_batch` null: the system's limits."""

    name: str
    owner: str | None
    default_topic: str
    topics: list[str] | None
    rate: int | None
    max_batch: int | None
    created_at: datetime
    disabled_at: datetime | None
    certificate_ends: datetime | None  # of the newest one that is not revoked


class ClientPage(msgspec.Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[ClientView]
    next: str | None


class Clients:
    """In the order of names."""

    rights: ClassVar = {"GET": Right(permission=Permission.CLIENTS_READ)}
    operations: ClassVar = (
        Operation(
            "GET", "/api/v1/clients", "Registered clients", responses={200: ClientPage}, query=ClientQuery, security=TOKEN,
            tag="operations",
        ),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page."""
        query = read_query(request, ClientQuery)
        try:
            after = None if query.cursor is None else cursors.read_name(query.cursor)
        except cursors.WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        found = clients.page(limit=query.limit + 1, after=after)
        items = [msgspec.convert(client, ClientView, from_attributes=True) for client in found[: query.limit]]
        more = len(found) > query.limit
        answer(response, ClientPage(items=items, next=cursors.of_name(items[-1].name) if more else None))
