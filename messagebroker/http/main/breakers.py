"""/api/v1/breakers: destinations that fail, and get nothing for a while."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

import falcon
import msgspec
import redis as redis_py

from messagebroker.http.decoding import answer, read_query
from messagebroker.http.main.callers import Right
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.main.people import number
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import breaker_events, breaker_list, cursors
from messagebroker.ops.permissions import Permission

PATH = "/api/v1/breakers"
State = Literal["closed", "open", "half-open"]
SubscriptionId = Annotated[int, msgspec.Meta(ge=1, le=999_999_999)]


class BreakerQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How much, from where on."""

    state: State | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class BreakerView(msgspec.Struct, kw_only=True):
    """The breaker of a subscription. `failures`: attempts in a row; `since`: of the state; `next_try` null: at any time."""

    subscription_id: int
    name: str
    channel: str
    state: str
    since: datetime | None
    failures: int
    failing_since: datetime | None
    next_try: datetime | None
    disabled: bool


class BreakerPage(msgspec.Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[BreakerView]
    next: str | None


class EventQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How much, from where on."""

    subscription_id: SubscriptionId | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class EventView(msgspec.Struct, kw_only=True):
    """A breaker came to a state."""

    id: int
    subscription_id: int
    created_at: datetime
    state: str
    why: str


class EventPage(msgspec.Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[EventView]
    next: str | None


class Breakers:
    """Of all subscriptions, by number."""

    rights: ClassVar = {"GET": Right(permission=Permission.BREAKERS_READ)}
    operations: ClassVar = (
        Operation(
            "GET", PATH, "Breakers of subscriptions", responses={200: BreakerPage}, query=BreakerQuery, security=TOKEN,
            tag="operations", description="Without Redis `next_try` is null everywhere.",
        ),
    )  # fmt: skip

    def __init__(self, redis: redis_py.Redis) -> None:
        self._redis = redis

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page."""
        query = read_query(request, BreakerQuery)
        states = () if query.state is None else (query.state,)
        found = breaker_list.page(self._redis, limit=query.limit + 1, after=_position(query.cursor), states=states)
        items = [msgspec.convert(one, BreakerView, from_attributes=True) for one in found[: query.limit]]
        more = len(found) > query.limit
        answer(response, BreakerPage(items=items, next=cursors.of_number(items[-1].subscription_id) if more else None))


class BreakerEvents:
    """Newest first."""

    rights: ClassVar = {"GET": Right(permission=Permission.BREAKERS_READ)}
    operations: ClassVar = (
        Operation(
            "GET", f"{PATH}/events", "When breakers opened and closed", responses={200: EventPage}, query=EventQuery,
            security=TOKEN, tag="operations",
        ),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page."""
        query = read_query(request, EventQuery)
        found = breaker_events.page(query.limit + 1, before=_position(query.cursor), subscription_id=query.subscription_id)
        items = [msgspec.convert(one, EventView, from_attributes=True) for one in found[: query.limit]]
        more = len(found) > query.limit
        answer(response, EventPage(items=items, next=cursors.of_number(items[-1].id) if more else None))


class ResetBreaker:
    """For who knows that the destination works again."""

    rights: ClassVar = {"POST": Right(permission=Permission.BREAKERS_RESET)}
    operations: ClassVar = (
        Operation(
            "POST", PATH + "/{subscription_id}/reset", "Close a breaker", responses={200: BreakerView, 404: None, 503: None},
            path_types={"subscription_id": SubscriptionId}, security=TOKEN, tag="operations",
            description="Workers try the destination again within a second. May be repeated.",
        ),
    )  # fmt: skip

    def __init__(self, redis: redis_py.Redis) -> None:
        self._redis = redis

    def on_post(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """The breaker as it is then."""
        found = breaker_list.reset(self._redis, number(subscription_id, "subscription"), request.context.caller.actor)
        answer(response, msgspec.convert(found, BreakerView, from_attributes=True))


def _position(cursor: str | None) -> int | None:
    try:
        return None if cursor is None else cursors.read_number(cursor)
    except cursors.WrongCursor as error:
        raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
