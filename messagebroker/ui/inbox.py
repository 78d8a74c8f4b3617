"""A person's inbox: newest first, what is unread marked, page by page."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlencode

from nicegui import ui
from starlette.requests import Request
from starlette.responses import Response

from messagebroker.client import ClientError
from messagebroker.client.inbox import Item
from messagebroker.client.requests import Page
from messagebroker.ui.elements import Tag, Text, link
from messagebroker.ui.frame import frame, trouble
from messagebroker.ui.inbox_mark import InboxMark
from messagebroker.ui.markup import Markup, show, table, tag
from messagebroker.ui.messages import BUILD_SECONDS, PAGE, remember
from messagebroker.ui.portal import Portal
from messagebroker.ui.sessions import Session
from messagebroker.ui.wording import moment

TITLE = "Inbox"
COLUMNS = {"Came": "time", "State": "", "Topic": "topic", "From": "", "Priority": "", "Came by": ""}
"""And their classes."""


class Inbox:
    """Everything at `/inbox`. Positions are in the address: reload, Back and bookmarks do what one expects."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        ui.page("/inbox", title=TITLE, response_timeout=BUILD_SECONDS)(self.show)

    async def show(self, request: Request, unread: str = "", cursor: str = "") -> Response | None:
        """One page of it."""
        session = self.portal.session_of(request)
        only_unread = unread == "true"
        try:
            found = await self.portal.api.inbox(
                self.portal.caller_of(request, session), unread=only_unread, cursor=cursor or None, limit=PAGE
            )
        except ClientError as error:
            return trouble(self.portal, request, TITLE, error)
        with frame(self.portal, request, TITLE):
            with Tag("div", "heading"):
                Text("h1", TITLE)
                if not cursor and any(item.read_at is None for item in found.items):
                    read_all = partial(self.portal.api.read_whole_inbox, up_to=found.items[0].id)
                    InboxMark(self.portal, request, "Mark all as read", read_all)
            with Tag("nav", "chips", aria_label="State"):
                for name, choice in (("all", False), ("unread", True)):
                    link(name, address(unread=choice), **({"aria_current": "true"} if choice == only_unread else {}))
            if found.items:
                show(table("Inbox, newest first", COLUMNS, [_cells(item) for item in found.items], "inbox"), "card table")
            else:
                _nothing(only_unread, cursor)
            _pager(session, only_unread, cursor, found)
        return None


def address(cursor: str = "", *, unread: bool = False) -> str:
    """The address of a part of the inbox."""
    query = urlencode({name: value for name, value in (("unread", "true" * unread), ("cursor", cursor)) if value})
    return f"/inbox?{query}" if query else "/inbox"


def _nothing(unread: bool, cursor: str) -> None:
    what = (
        "You have read everything."
        if unread
        else "Nothing has come yet. Subscriptions with the channel `inbox` bring messages here."
    )
    with Tag("div", "card empty"):
        Text("p", "The list ends here." if cursor else what)


def _pager(session: Session, unread: bool, cursor: str, found: Page[Item]) -> None:
    """Cursors lead onwards only; the way back is what this session has walked."""
    here = address(cursor, unread=unread)
    if found.next:
        remember(session, address(found.next, unread=unread), here)
    with Tag("nav", "pager", aria_label="Parts of the list"):
        if cursor:
            link("⇤ Newest", address(unread=unread))
            link("← Newer", session.previous.get(here, address(unread=unread)), rel="prev")
        if found.next:
            link("Older →", address(found.next, unread=unread), "onwards", rel="next")


def _cells(item: Item) -> list[str]:
    state = tag("span", "unread", class_="badge") if item.read_at is None else tag("span", "read", class_="badge expired")
    return [
        moment(item.created_at),
        state,
        _link(item),
        item.message.client_id,
        item.message.priority,
        item.subscription or "–",
    ]


def _link(item: Item) -> Markup:
    return tag("a", item.message.topic, href=f"/inbox/{item.id}", class_="unread" if item.read_at is None else "")
