"""GET /api/v1/dead-letters and …/groups: failed deliveries, one by one and by destination and kind of error."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

import falcon
from msgspec import Meta, Struct

from messagebroker.errors import Refused
from messagebroker.http.decoding import answer, read_query
from messagebroker.http.main.callers import Right
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import cursors, dead_letters
from messagebroker.ops.dead_letter_selection import FINGERPRINT, Position, Selection
from messagebroker.ops.dead_letters import DeadLetterView, GroupView
from messagebroker.ops.permissions import Permission

PATH = "/api/v1/dead-letters"
SubscriptionId = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Fingerprint = Annotated[str, Meta(pattern=FINGERPRINT)]
Instant = Annotated[datetime, Meta(tz=True)]


class GroupQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """How much, from where on."""

    limit: Limit = 50
    cursor: Cursor | None = None


class DeadLetterQuery(GroupQuery, forbid_unknown_fields=True, kw_only=True):
    """Of all, of one subscription, or of one group; of a group also of a time in which messages were accepted."""

    subscription_id: SubscriptionId | None = None
    fingerprint: Fingerprint | None = None
    since: Instant | None = None
    until: Instant | None = None


class GroupPage(Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[GroupView]
    next: str | None


class DeadLetterPage(Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[DeadLetterView]
    next: str | None


class DeadLetterGroups:
    """In the order of subscriptions, then fingerprints."""

    rights: ClassVar = {"GET": Right(permission=Permission.DEAD_LETTERS_READ)}
    operations: ClassVar = (
        Operation(
            "GET", PATH + "/groups", "Dead letters by destination and kind of error", responses={200: GroupPage},
            query=GroupQuery, security=TOKEN, tag="deliveries",
        ),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page."""
        query = read_query(request, GroupQuery)
        position = _position(query.cursor)
        group = None if position is None else (position.subscription_id, position.fingerprint)
        found = dead_letters.groups(query.limit + 1, group)
        listed = found[: query.limit]
        last = listed[-1] if len(found) > query.limit else None
        following = None if last is None else _cursor(Position(last.subscription_id, last.fingerprint, bytes(16)))
        answer(response, GroupPage(items=listed, next=following))


class DeadLetters:
    """In the order of subscription, fingerprint and message."""

    rights: ClassVar = {"GET": Right(permission=Permission.DEAD_LETTERS_READ)}
    operations: ClassVar = (
        Operation(
            "GET", PATH, "List dead letters", responses={200: DeadLetterPage}, query=DeadLetterQuery, security=TOKEN,
            tag="deliveries", description="Filters without an index: 400 `filter-not-indexed`.",
        ),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page."""
        query = read_query(request, DeadLetterQuery)
        names = ("subscription_id", "fingerprint", "since", "until")
        selection = Selection(**{name: getattr(query, name) for name in names})
        position = _position(query.cursor)
        try:
            found = dead_letters.page(selection, query.limit + 1, position)
        except Refused as error:
            raise Problem(400, "filter-not-indexed", str(error)) from None
        listed = found[: query.limit]
        following = _cursor(dead_letters.position_of(listed[-1])) if len(found) > query.limit else None
        answer(response, DeadLetterPage(items=listed, next=following))


def _cursor(position: Position) -> str:
    return cursors.of_position(position.subscription_id, position.fingerprint, position.message_id)


def _position(cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    try:
        return Position(*cursors.read_position(cursor))
    except cursors.WrongCursor as error:
        raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
