"""POST /api/v1/messages/{message_id}/cancel: takes back what is scheduled."""

from __future__ import annotations

from typing import ClassVar

import falcon

from messagebroker.http.decoding import answer
from messagebroker.http.main.callers import Right
from messagebroker.http.main.message import MessageId, parsed
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import cancelling
from messagebroker.ops.messages import MessageView
from messagebroker.ops.permissions import Permission


class CancelMessage:
    """Nothing that has begun is stopped: what was sent cannot be called back."""

    rights: ClassVar = {"POST": Right(permission=Permission.MESSAGES_CANCEL)}
    operations: ClassVar = (
        Operation(
            "POST", "/api/v1/messages/{message_id}/cancel", "Cancel a scheduled message",
            responses={200: MessageView, 404: None, 409: None}, path_types={"message_id": MessageId}, security=TOKEN,
            tag="messages", description="409 `not-scheduled` when it has begun or ended. The request has no body.",
        ),
    )  # fmt: skip

    def on_post(self, request: falcon.Request, response: falcon.Response, message_id: str) -> None:
        """The message as it is then."""
        try:
            answer(response, cancelling.cancel(parsed(message_id), request.context.caller.actor))
        except cancelling.NotScheduled as error:
            raise Problem(409, "not-scheduled", str(error)) from None
