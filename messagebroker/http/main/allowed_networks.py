"""/api/v1/webhooks/allowed-networks: private networks that webhooks may reach all the same."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.errors import Conflict
from messagebroker.http.decoding import answer, read_json, read_query
from messagebroker.http.main.callers import Right
from messagebroker.http.main.client_views import fields_named
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.main.subscription_views import READ
from messagebroker.http.main.webhooks import PATH as WEBHOOKS
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import allowed_networks, cursors
from messagebroker.ops.allowed_networks import LONGEST_REASON
from messagebroker.ops.permissions import Permission

PATH = WEBHOOKS + "/allowed-networks"
_MANAGE = Right(permission=Permission.NETWORKS_MANAGE)


class NetworkQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How much, from where on."""

    limit: Limit = 50
    cursor: Cursor | None = None


class NetworkView(msgspec.Struct, kw_only=True):
    """A network in CIDR notation, and why it is allowed."""

    network: str
    reason: str
    added_by: str
    added_at: datetime


class NetworkPage(msgspec.Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[NetworkView]
    next: str | None


class NetworkAndReason(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Such as 10.1.0.0/16, and why, for those who come later."""

    network: Annotated[str, msgspec.Meta(min_length=2, max_length=49)]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_REASON)]


class AllowedNetworks:
    """In the order of their text."""

    rights: ClassVar = {"GET": Right(permission=READ), "POST": _MANAGE}
    operations: ClassVar = (
        Operation(
            "GET", PATH, "Private networks that webhooks may reach", responses={200: NetworkPage}, query=NetworkQuery,
            security=TOKEN, tag="deliveries",
        ),
        Operation(
            "POST", PATH, "Let webhooks reach a private network", request=NetworkAndReason,
            responses={201: NetworkView, 409: None, 422: None}, security=TOKEN, tag="deliveries",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(NetworkAndReason)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page."""
        query = read_query(request, NetworkQuery)
        try:
            after = None if query.cursor is None else cursors.read_name(query.cursor)
        except cursors.WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        found = allowed_networks.page(limit=query.limit + 1, after=after)
        items = [msgspec.convert(entry, NetworkView, from_attributes=True) for entry in found[: query.limit]]
        more = len(found) > query.limit
        answer(response, NetworkPage(items=items, next=cursors.of_name(items[-1].network) if more else None))

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """201 with the network as it is kept."""
        given = read_json(request, self._decoder)
        try:
            with fields_named():
                added = allowed_networks.add(given.network, given.reason, request.context.caller.actor)
        except Conflict as error:
            raise Problem(409, "network-allowed", str(error), field="network") from None
        answer(response, msgspec.convert(added, NetworkView, from_attributes=True), status=201)


class DisallowedNetwork:
    """A path of its own: a network has a slash in it, which no path can hold."""

    rights: ClassVar = {"POST": _MANAGE}
    operations: ClassVar = (
        Operation(
            "POST", PATH + "/remove", "Take a private network off the list", request=NetworkAndReason,
            responses={204: None, 404: None, 422: None}, security=TOKEN, tag="deliveries",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(NetworkAndReason)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """204."""
        given = read_json(request, self._decoder)
        with fields_named():
            allowed_networks.remove(given.network, given.reason, request.context.caller.actor)
        response.status = 204
