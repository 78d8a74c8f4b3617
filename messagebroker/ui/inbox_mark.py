"""The button that changes what is unread, and shows the inbox as it is then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import context
from starlette.requests import Request

from messagebroker.client import ClientError
from messagebroker.client.requests import Caller
from messagebroker.ui.elements import Tag, Text
from messagebroker.ui.frame import draw_trouble, needs_login
from messagebroker.ui.portal import Portal
from messagebroker.ui.sessions import End


class InboxMark:
    """`ask` tells main; trouble is shown beside the button."""

    def __init__(self, portal: Portal, request: Request, words: str, ask: Callable[[Caller], Awaitable[object]]) -> None:
        self.portal = portal
        self.request = request
        self.ask = ask
        with Tag("div", aria_live="polite") as self.place:
            Text("button", words, "button", type="button").on("click", self.mark)

    async def mark(self) -> None:
        """Asks main on the person's behalf, unless their session has ended."""
        session = self.portal.session_of(self.request)
        if not self.portal.sessions.is_open(session):
            context.client.open(f"/login?ended={End.EXPIRED}")
            return
        self.portal.sessions.used(session)
        try:
            await self.ask(self.portal.caller_of(self.request, session))
        except ClientError as error:
            if not needs_login(self.portal, self.request, error):
                with self.place:
                    draw_trouble(error)
            return
        context.client.open("/inbox")
