"""GET /api/v1/messages/counts: what is stored of a client's messages, hour by hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import ClassVar

import falcon
import msgspec

from messagebroker.errors import NotFound
from messagebroker.http.decoding import answer, read_query
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.messages import ClientName, Instant, scope_for
from messagebroker.http.openapi import CERTIFICATE_OR_TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import books, clock
from messagebroker.ops.permissions import Permission

PATH = "/api/v1/messages/counts"
USUAL = timedelta(days=1)
_FIRST, _LAST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class CountQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """From and before which time of acceptance; by default the last 24 hours. At most 31 days."""

    client: ClientName
    since: Instant | None = None
    until: Instant | None = None


class HourView(msgspec.Struct, kw_only=True):
    """An hour in UTC, from its beginning. Together the three numbers are the ids that were answered with 202."""

    hour: datetime
    stored: int
    copies: int
    set_aside: int


class CountAnswer(msgspec.Struct, kw_only=True):
    """Hours that have a message, oldest first, and their sums."""

    client_id: str
    since: datetime
    until: datetime
    stored: int
    copies: int
    set_aside: int
    items: list[HourView]


class Counts:
    """For proxies that ask on behalf of a client, and for people who may see its messages."""

    rights: ClassVar = {"GET": Right(permission=Permission.MESSAGES_LIST, own=Permission.MESSAGES_OWN, component="proxy")}
    operations: ClassVar = (
        Operation(
            "GET", PATH, "Messages per hour", responses={200: CountAnswer, 404: None}, query=CountQuery,
            security=CERTIFICATE_OR_TOKEN, tag="messages",
            description="`stored`, `copies` (ids that answer for an earlier message under the same Idempotency-Key) and "
            "`set_aside` (could not be stored) are together what was accepted and has left the queue.",
        ),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """By the time of acceptance."""
        query = read_query(request, CountQuery)
        caller: Caller = request.context.caller
        if caller.component is None:
            scope = scope_for(caller)
            if scope is not None and query.client not in scope.clients:
                raise NotFound(f"there is no client {query.client} of yours")
        until = _within(query.until or clock.now())
        since = _within(query.since or until - USUAL)
        try:
            found = books.counts(query.client, since, until)
        except books.TooLong as error:
            raise Problem(400, "invalid-parameter", str(error), field="since") from None
        items = [msgspec.convert(hour, HourView, from_attributes=True) for hour in found]
        sums = {name: sum(getattr(hour, name) for hour in found) for name in ("stored", "copies", "set_aside")}
        answer(response, CountAnswer(client_id=query.client, since=since, until=until, items=items, **sums))


def _within(moment: datetime) -> datetime:
    """In UTC; what is earlier or later than any message was or will be is brought nearer."""
    return max(_FIRST, min(_LAST, moment)).astimezone(UTC)
