"""GET /api/v1/messages/{message_id}: one of a client's own messages, which main opens."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import falcon
import msgspec

from messagebroker.http.openapi import Operation
from messagebroker.http.problems import Problem
from messagebroker.http.proxy.lookup import Lookup
from messagebroker.http.proxy.reads import Reads
from messagebroker.http.proxy.relay import relay
from messagebroker.ops import ids

PATH = "/api/v1/messages/{message_id}"
MessageId = Annotated[str, msgspec.Meta(min_length=36, max_length=36, extra_json_schema={"format": "uuid"})]


class FoundMessage(msgspec.Struct, kw_only=True):
    """A message, opened. Further members may be there."""

    message_id: str
    client_id: str
    topic: str
    status: str
    body: Any = None
    sender: str | None = None
    metadata: dict[str, Any] | None = None


class StoredMessage:
    """A client's own message."""

    operations: ClassVar = (
        Operation(
            "GET",
            PATH,
            "Read one of your messages",
            responses={200: FoundMessage, 404: None, 429: None},
            path_types={"message_id": MessageId},
            tag="messages",
            description="404 `not-stored-yet` with Retry-After while the message is queued.",
        ),
    )

    def __init__(self, lookup: Lookup, reads: Reads) -> None:
        self._lookup = lookup
        self._reads = reads

    def on_get(self, request: falcon.Request, response: falcon.Response, message_id: str) -> None:
        """Main checks whose message it is, and opens it."""
        parsed = ids.parse(message_id)
        if parsed is None:
            raise Problem(404, "not-found", "there is no such message: message_id is not a UUID", field="message_id")
        client = request.context.peer.name
        relay(self._reads, request, lambda: self._lookup.ask(ids.text(parsed), client))
