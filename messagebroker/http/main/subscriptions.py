"""/api/v1/subscriptions: who gets which messages. Those who may not read all see their own and their groups'."""

from __future__ import annotations

from typing import ClassVar

import falcon
import msgspec

from messagebroker.http.decoding import answer, read_json, read_query
from messagebroker.http.main.callers import Right
from messagebroker.http.main.client_views import Owner, fields_named
from messagebroker.http.main.etags import DESCRIBED, set_etag
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.main.subscription_views import (
    MANAGE,
    OWN,
    PATH,
    READ,
    Channel,
    NewSubscription,
    SubscriptionMade,
    SubscriptionPage,
    reader_of,
    settled,
    view_of,
)
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import cursors, subscription_pages, subscription_warnings, subscriptions
from messagebroker.ops.subscription_pages import Unindexed
from messagebroker.settings import Settings

_LIMIT = 256 * 1024  # certificates and templates are inside


class SubscriptionQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How much, from where on. `channel` or `owner`, not both; `owner` for those who may read every subscription."""

    channel: Channel | None = None
    owner: Owner | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class Subscriptions:
    """In the order in which they were made."""

    rights: ClassVar = {"GET": Right(permission=READ, own=OWN), "POST": Right(permission=MANAGE)}
    operations: ClassVar = (
        Operation(
            "GET", PATH, "Subscriptions", responses={200: SubscriptionPage}, query=SubscriptionQuery, security=TOKEN,
            tag="deliveries",
        ),
        Operation(
            "POST", PATH, "Subscribe", request=NewSubscription, responses={201: SubscriptionMade, 422: None}, security=TOKEN,
            tag="deliveries", response_headers={201: {"Location": "Of the subscription.", **DESCRIBED}},
            description="It gets messages that are stored from about a second later on.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = msgspec.json.Decoder(NewSubscription)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page."""
        query = read_query(request, SubscriptionQuery)
        answer(response, page_for(request, channel=query.channel, owner=query.owner, limit=query.limit, cursor=query.cursor))

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """201 with the subscription."""
        wanted = read_json(request, self._decoder, limit=_LIMIT)
        with fields_named():
            made = subscriptions.create(self._settings, wanted.given(), request.context.caller.actor)
        view = view_of(made.details)
        response.set_header("Location", f"{PATH}/{view.id}")
        set_etag(response, settled(view))
        warnings = subscription_warnings.warnings(self._settings, made.details)
        shown = SubscriptionMade(**msgspec.structs.asdict(view), signing_secret=made.signing_secret, warnings=warnings)
        answer(response, shown, status=201)


def page_for(
    request: falcon.Request, *, channel: str | None, limit: int, cursor: str | None, owner: str | None = None
) -> SubscriptionPage:
    """A page of what the caller may see."""
    try:
        found = subscription_pages.page(
            limit=limit + 1,
            after=None if cursor is None else cursors.read_number(cursor),
            channel=channel,
            owner=owner,
            only_of=reader_of(request.context.caller),
        )
    except cursors.WrongCursor as error:
        raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
    except Unindexed as error:
        raise Problem(400, "filter-not-indexed", str(error)) from None
    items = [view_of(details) for details in found[:limit]]
    return SubscriptionPage(items=items, next=cursors.of_number(items[-1].id) if len(found) > limit else None)
