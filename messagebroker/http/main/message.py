"""GET /api/v1/messages/{message_id}: one message, for people and for proxies that ask on behalf of a client."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.errors import NotFound
from messagebroker.http.decoding import answer, read_query
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.messages import ClientName, require_client, scope_for
from messagebroker.http.openapi import CERTIFICATE_OR_TOKEN, TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import clock, ids, messages
from messagebroker.ops.messages import MessageView
from messagebroker.ops.opening import OpenedView, Opener
from messagebroker.ops.permissions import Permission

MessageId = Annotated[str, msgspec.Meta(extra_json_schema={"format": "uuid"})]
_CLOCK_SKEW = timedelta(minutes=5)  # between a proxy and main


class OneQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`body`: open it (people). `client`: whose it must be (proxies, who always get the body)."""

    body: bool = False
    client: ClientName | None = None


class OneMessage:
    """A person sees what is plain of it, and with `body=true` what was sealed, which the audit log keeps."""

    rights: ClassVar = {"GET": Right(permission=Permission.MESSAGES_LIST, own=Permission.MESSAGES_OWN, component="proxy")}
    operations: ClassVar = (
        Operation(
            "GET", "/api/v1/messages/{message_id}", "One message", responses={200: (OpenedView, MessageView), 404: None},
            query=OneQuery, path_types={"message_id": MessageId}, security=CERTIFICATE_OR_TOKEN, tag="messages",
            response_headers={404: {"Retry-After": "Seconds, when the message may be stored soon."}},
        ),
    )  # fmt: skip

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    def on_get(self, request: falcon.Request, response: falcon.Response, message_id: str) -> None:
        """What the caller may see of it."""
        caller: Caller = request.context.caller
        query = read_query(request, OneQuery)
        known = parsed(message_id)
        if caller.component is not None:
            answer(response, self._for_proxy(known, query))
            return
        if query.client is not None:
            raise Problem(400, "invalid-parameter", "`client` is for proxies", field="client")
        answer(response, self._for_person(known, caller, body=query.body))

    def _for_person(self, message_id: bytes, caller: Caller, *, body: bool) -> MessageView:
        return opened(self._opener, message_id, caller) if body else messages.find(message_id, scope_for(caller))

    def _for_proxy(self, message_id: bytes, query: OneQuery) -> OpenedView:
        client = require_client(query.client)
        try:
            return self._opener.for_client(message_id, client)
        except NotFound:
            raise absent(message_id, client) from None


class MessageBody:
    """The same as `body=true`, under a path of its own."""

    rights: ClassVar = {"GET": Right(permission=Permission.MESSAGES_OPEN, own=Permission.MESSAGES_OWN)}
    operations: ClassVar = (
        Operation(
            "GET", "/api/v1/messages/{message_id}/body", "Open a message", responses={200: OpenedView, 404: None},
            path_types={"message_id": MessageId}, security=TOKEN, tag="messages",
        ),
    )  # fmt: skip

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    def on_get(self, request: falcon.Request, response: falcon.Response, message_id: str) -> None:
        """The whole message; the audit log keeps who opened it."""
        answer(response, opened(self._opener, parsed(message_id), request.context.caller))


def parsed(text: str) -> bytes:
    """The id in a path; a 404 problem for what is none."""
    message_id = ids.parse(text)
    if message_id is None:
        raise Problem(404, "not-found", "a message id is a UUID such as 0190b8e0-7c1e-7cc3-98c4-dc0c0c07398f")
    return message_id


def opened(opener: Opener, message_id: bytes, caller: Caller) -> OpenedView:
    """The message, opened for a person who may; recorded. Messages of others look as if there were none."""
    return opener.for_person(message_id, caller.actor, scope_for(caller, Permission.MESSAGES_OPEN))


def absent(message_id: bytes, client: str) -> Problem:
    """Why a client's message is not there. A message of somebody else looks like one that never was."""
    if messages.is_set_aside(message_id, client):
        return Problem(404, "set-aside", "this message could not be stored; operators have it and can try again")
    if message_id[6] >> 4 != 7 or ids.is_after(message_id, clock.now() + _CLOCK_SKEW):
        return Problem(404, "not-found", "no such message was ever accepted")
    detail = "not stored yet, or never accepted; ask again when it was accepted a short while ago"
    return Problem(404, "not-stored-yet", detail, headers={"Retry-After": "1"})
