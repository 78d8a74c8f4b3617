"""One message of a person's inbox. Coming here opens it, and marks it as read."""

from __future__ import annotations

from functools import partial

from nicegui import ui
from starlette.requests import Request
from starlette.responses import Response

from messagebroker.client import ClientError
from messagebroker.client.inbox import Item
from messagebroker.ui.elements import Tag, Text, link
from messagebroker.ui.frame import frame, trouble
from messagebroker.ui.inbox_mark import InboxMark
from messagebroker.ui.message import draw_body, pair
from messagebroker.ui.messages import BUILD_SECONDS
from messagebroker.ui.portal import Portal
from messagebroker.ui.wording import exact, size

TITLE = "Message in the inbox"


class InboxItem:
    """Everything at `/inbox/NUMBER`."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        ui.page("/inbox/{item:int}", title=TITLE, response_timeout=BUILD_SECONDS)(self.show)

    async def show(self, request: Request, item: int) -> Response | None:
        """The message, opened; main writes the audit entry."""
        session = self.portal.session_of(request)
        caller = self.portal.caller_of(request, session)
        try:
            opened = await self.portal.api.open_inbox_item(caller, item)
            if opened.item.read_at is None:
                await self.portal.api.read_inbox_item(caller, item)
        except ClientError as error:
            return trouble(self.portal, request, TITLE, error)
        with frame(self.portal, request, TITLE):
            link("← Inbox", "/inbox", "back")
            with Tag("div", "heading"):
                Text("h1", opened.message.topic)
                InboxMark(self.portal, request, "Mark as unread", partial(self.portal.api.unread_inbox_item, item=item))
            _facts(opened.item)
            with Tag("section", "card body"):
                Text("h2", "Body")
                with Tag("div"):
                    draw_body(opened.message)
        return None


def _facts(item: Item) -> None:
    message = item.message
    with Tag("section", "card"):
        Text("h2", "Facts")
        with Tag("dl"):
            pair("From", message.client_id)
            pair("Priority", message.priority)
            pair("Size", size(message.size))
            pair("Came by", item.subscription or "a subscription that is gone")
            pair("Came", exact(item.created_at))
            pair("Message", message.message_id)
