"""One message of a person's inbox. Coming here opens it, and marks it as read."""

from __future__ import annotations

from nicegui import context, ui
from starlette.requests import Request
from starlette.responses import Response

from messagebroker.client import ClientError
from messagebroker.client.inbox import Item
from messagebroker.ui.elements import Tag, Text, link
from messagebroker.ui.frame import draw_trouble, frame, needs_login, trouble
from messagebroker.ui.message import draw_body, pair
from messagebroker.ui.messages import BUILD_SECONDS
from messagebroker.ui.portal import Portal
from messagebroker.ui.sessions import End
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
                Unreading(self.portal, request, item)
            _facts(opened.item)
            with Tag("section", "card body"):
                Text("h2", "Body")
                with Tag("div"):
                    draw_body(opened.message)
        return None


class Unreading:
    """The button that makes it unread again, and goes back."""

    def __init__(self, portal: Portal, request: Request, item: int) -> None:
        self.portal = portal
        self.request = request
        self.item = item
        with Tag("div", aria_live="polite") as self.place:
            Text("button", "Mark as unread", "button", type="button").on("click", self.mark)

    async def mark(self) -> None:
        """Asks main."""
        session = self.portal.session_of(self.request)
        if not self.portal.sessions.is_open(session):
            context.client.open(f"/login?ended={End.EXPIRED}")
            return
        self.portal.sessions.used(session)
        try:
            await self.portal.api.unread_inbox_item(self.portal.caller_of(self.request, session), self.item)
        except ClientError as error:
            if not needs_login(self.portal, self.request, error):
                with self.place:
                    draw_trouble(error)
            return
        context.client.open("/inbox")


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
