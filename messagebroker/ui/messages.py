"""The list of messages: newest first, by status, page by page."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from nicegui import ui
from starlette.requests import Request
from starlette.responses import Response

from messagebroker.client import ClientError, Message, MessagePage
from messagebroker.ui.elements import Tag, Text, link
from messagebroker.ui.frame import frame, trouble
from messagebroker.ui.markup import Markup, show, table, tag
from messagebroker.ui.portal import Portal
from messagebroker.ui.sessions import Session
from messagebroker.ui.wording import moment, size

TITLE = "Messages"
PAGE = 25
STATUSES = ("scheduled", "pending", "processing", "delivered", "failed", "expired", "cancelled")
REMEMBERED = 500  # positions in the list, a session
COLUMNS = {  # and their classes
    "Accepted": "time", "Status": "", "Topic": "topic", "Client": "", "Priority": "", "Size": "number", "Message": "id",
}  # fmt: skip
BUILD_SECONDS = 20.0  # longer than the API client's own patience


class Messages:
    """Everything at `/messages`. Positions are in the address: reload, Back and bookmarks do what one expects."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        ui.page("/messages", title=TITLE, response_timeout=BUILD_SECONDS)(self.show)

    async def show(self, request: Request, status: str = "", cursor: str = "") -> Response | None:
        """One page of the list."""
        session = self.portal.session_of(request)
        status = status if status in STATUSES else ""
        try:
            found = await self.portal.api.messages(
                self.portal.caller_of(request, session), status=status or None, cursor=cursor or None, limit=PAGE
            )
        except ClientError as error:
            return trouble(self.portal, request, TITLE, error)
        with frame(self.portal, request, TITLE):
            Text("h1", TITLE)
            self._filter(status)
            if found.items:
                show(
                    table("Messages, newest first", COLUMNS, [_cells(message) for message in found.items], "messages"),
                    "card table",
                )
            else:
                self._nothing(status, cursor)
            self._pager(session, status, cursor, found)
        return None

    def _filter(self, status: str) -> None:
        with Tag("nav", "chips", aria_label="Status"):
            for choice in ("", *STATUSES):
                here = {"aria_current": "true"} if choice == status else {}
                link(choice or "all", address(choice), **here)

    def _nothing(self, status: str, cursor: str) -> None:
        what = f"No message is {status} now." if status else "No message has been stored yet."
        with Tag("div", "card empty"):
            Text("p", "The list ends here." if cursor else what)

    def _pager(self, session: Session, status: str, cursor: str, found: MessagePage) -> None:
        """Cursors lead onwards only; the way back is what this session has walked."""
        if found.next:
            remember(session, address(status, found.next), address(status, cursor))
        with Tag("nav", "pager", aria_label="Parts of the list"):
            if cursor:
                link("⇤ Newest", address(status))
                link("← Newer", session.previous.get(address(status, cursor), address(status)), rel="prev")
            if found.next:
                link("Older →", address(status, found.next), "onwards", rel="next")


def badge(status: str) -> Markup:
    """A status, in its colour and in words."""
    return tag("span", status, class_=f"badge {status if status in STATUSES else ''}")


def _cells(message: Message) -> list[str]:
    return [
        moment(message.created_at),
        badge(message.status),
        message.topic,
        message.client_id,
        message.priority,
        size(message.size),
        tag("a", message.message_id, href=f"/messages/{quote(message.message_id, safe='')}"),
    ]


def address(status: str, cursor: str = "") -> str:
    """The address of a part of the list."""
    query = urlencode({name: value for name, value in (("status", status), ("cursor", cursor)) if value})
    return f"/messages?{query}" if query else "/messages"


def remember(session: Session, there: str, before: str) -> None:
    """Where `there` was reached from; the oldest memory goes first."""
    session.previous.pop(there, None)
    session.previous[there] = before
    while len(session.previous) > REMEMBERED:
        del session.previous[next(iter(session.previous))]
