"""/api/v1/clients: who may send, and what the policy says of them."""

from __future__ import annotations

from typing import ClassVar

import falcon
import msgspec

from messagebroker.errors import Conflict, Refused
from messagebroker.http.decoding import answer, read_json, read_query
from messagebroker.http.main.callers import Right
from messagebroker.http.main.client_views import (
    ClientChanged,
    ClientView,
    GroupId,
    NewClient,
    Owner,
    answer_changed,
    fields_named,
    only_of,
    view_of,
)
from messagebroker.http.main.etags import DESCRIBED
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import clients, cursors
from messagebroker.ops.clients import Unindexed
from messagebroker.ops.permissions import Permission
from messagebroker.settings import Settings

PATH = "/api/v1/clients"


class ClientQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How much, from where on. `owner` or `group_id`, not both; for those who may read every client."""

    owner: Owner | None = None
    group_id: GroupId | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class ClientPage(msgspec.Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[ClientView]
    next: str | None


class Clients:
    """In the order of names. People without `clients.read` see their own, and those of their groups."""

    rights: ClassVar = {
        "GET": Right(permission=Permission.CLIENTS_READ, own=Permission.CLIENTS_OWN),
        "POST": Right(permission=Permission.CLIENTS_MANAGE),
    }
    operations: ClassVar = (
        Operation(
            "GET", PATH, "Registered clients", responses={200: ClientPage}, query=ClientQuery, security=TOKEN, tag="clients",
        ),
        Operation(
            "POST", PATH, "Register a client", request=NewClient, responses={201: ClientChanged, 409: None, 422: None},
            security=TOKEN, tag="clients", response_headers={201: DESCRIBED},
            description="It can send once it has a certificate: `POST /api/v1/certificates`.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = msgspec.json.Decoder(NewClient)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page."""
        query = read_query(request, ClientQuery)
        person = only_of(request.context.caller, Permission.CLIENTS_READ)
        if person is not None and (query.owner is not None or query.group_id is not None):
            raise Problem(400, "filter-not-indexed", "your own clients have no filters; `limit` and `cursor` only")
        try:
            found = clients.page(
                self._settings,
                limit=query.limit + 1,
                after=None if query.cursor is None else cursors.read_name(query.cursor),
                owner=query.owner,
                group_id=query.group_id,
                only_of=person,
            )
        except cursors.WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        except Unindexed as error:
            raise Problem(400, "filter-not-indexed", str(error)) from None
        items = [view_of(client) for client in found[: query.limit]]
        more = len(found) > query.limit
        answer(response, ClientPage(items=items, next=cursors.of_name(items[-1].name) if more else None))

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """The new client."""
        wanted = read_json(request, self._decoder)
        try:
            with fields_named():
                made = clients.register(self._settings, wanted.name, wanted.given(), request.context.caller.actor)
        except Conflict as error:
            raise Problem(409, "client-exists", str(error), field="name") from None
        except Refused as error:  # of the name: another field is named above
            raise Problem(422, "invalid-field", str(error), field="name") from None
        response.set_header("Location", f"{PATH}/{wanted.name}")
        answer_changed(response, made, status=201)
