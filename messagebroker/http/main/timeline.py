"""GET /api/v1/messages/{message_id}/timeline: from the sender's certificate to the last attempt and every operator's action."""

from __future__ import annotations

from typing import ClassVar

import falcon

from messagebroker.http.decoding import answer
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.message import MessageId, parsed
from messagebroker.http.main.messages import scope_for
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.ops import timeline
from messagebroker.ops.permissions import Permission
from messagebroker.ops.timeline import Timeline


class MessageTimeline:
    """For who may see the message. In whose inboxes it is, and the errors of other people's subscriptions,
    are told to those who may list everybody's messages."""

    rights: ClassVar = {"GET": Right(permission=Permission.MESSAGES_LIST, own=Permission.MESSAGES_OWN)}
    operations: ClassVar = (
        Operation(
            "GET", "/api/v1/messages/{message_id}/timeline", "What happened to a message", responses={200: Timeline, 404: None},
            path_types={"message_id": MessageId}, security=TOKEN, tag="messages",
        ),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response, message_id: str) -> None:
        """The whole timeline, in the order of time."""
        caller: Caller = request.context.caller
        reader = None if caller.may(Permission.MESSAGES_LIST) else caller.person
        answer(response, timeline.of(parsed(message_id), scope_for(caller), reader=reader))
