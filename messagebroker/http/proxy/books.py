"""GET /api/v1/messages and /api/v1/messages/counts: what is stored of a client's messages, for its own books."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import falcon
import msgspec
from msgspec import Meta

from messagebroker.http.decoding import read_query
from messagebroker.http.openapi import Operation
from messagebroker.http.proxy.lookup import Lookup
from messagebroker.http.proxy.patience import Patience
from messagebroker.http.proxy.reads import Reads
from messagebroker.http.proxy.reception import Reception
from messagebroker.http.proxy.relay import relay
from messagebroker.http.proxy.submit import SINGLE, SubmitMessage

COST_OF_COUNTS = 10
"""Of requests: counting a month reads an index entry for each of its messages, a page reads two hundred rows at most."""

Instant = Annotated[datetime, Meta(tz=True)]
Status = Literal["scheduled", "pending", "processing", "delivered", "failed", "expired", "cancelled"]


class OwnQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """From and before which time of acceptance, in which order, from where on."""

    status: Status | None = None
    since: Instant | None = None
    until: Instant | None = None
    order: Literal["desc", "asc"] = "desc"
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_-]+$(?!\n)")] | None = None


class ListedMessage(msgspec.Struct, kw_only=True):
    """A stored message, without what is sealed. Further members may be there."""

    message_id: str
    client_id: str
    topic: str
    priority: str
    status: str
    created_at: datetime
    stored_at: datetime
    due_at: datetime | None
    expires_at: datetime | None
    size: int
    correlation_id: str | None


class OwnPage(msgspec.Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[ListedMessage]
    next: str | None


class CountQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """From and before which time of acceptance; by default the last 24 hours. At most 31 days."""

    since: Instant | None = None
    until: Instant | None = None


class CountedHour(msgspec.Struct, kw_only=True):
    """An hour in UTC, from its beginning."""

    hour: datetime
    stored: int
    copies: int
    set_aside: int


class OwnCounts(msgspec.Struct, kw_only=True):
    """Hours that have a message, oldest first, and their sums."""

    client_id: str
    since: datetime
    until: datetime
    stored: int
    copies: int
    set_aside: int
    items: list[CountedHour]


class OwnMessages(SubmitMessage):
    """The list, under the path that takes messages in."""

    operations: ClassVar = (
        *SubmitMessage.operations,
        Operation("GET", SINGLE, "List your messages", responses={200: OwnPage, 429: None}, query=OwnQuery, tag="messages"),
    )

    def __init__(self, reception: Reception, lookup: Lookup, patience: Patience, reads: Reads, *, max_items: int) -> None:
        super().__init__(reception, lookup, patience, max_items=max_items)
        self._reads = reads

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page, newest first unless asked otherwise; what is not stored yet is not in it."""
        parameters = _parameters(request, OwnQuery)
        relay(self._reads, request, lambda: self._lookup.get("", parameters))


class OwnHours:
    """Numbers by the hour."""

    operations: ClassVar = (
        Operation(
            "GET", f"{SINGLE}/counts", "Your messages per hour", responses={200: OwnCounts, 429: None}, query=CountQuery,
            tag="messages",
            description="`stored`, `copies` (ids that answer for an earlier message under the same Idempotency-Key) and "
            "`set_aside` (could not be stored; operators have them) are together what was answered with 202 and has left "
            "the queue.",
        ),
    )  # fmt: skip

    def __init__(self, lookup: Lookup, reads: Reads) -> None:
        self._lookup = lookup
        self._reads = reads

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Main counts."""
        parameters = _parameters(request, CountQuery)
        relay(self._reads, request, lambda: self._lookup.get("/counts", parameters), cost=COST_OF_COUNTS)


def _parameters(request: falcon.Request, kind: Any) -> dict[str, str]:
    """What the client asked for, once it is known to be well-formed; whose messages it is about says the certificate."""
    read_query(request, kind)
    return {**request.params, "client": request.context.peer.name}
