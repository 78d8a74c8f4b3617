"""What every page has around it: the header with navigation, the queue's depth, and the way out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nicegui import context, ui
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from messagebroker.client import ClientError, Problem
from messagebroker.ui.depth import Depth
from messagebroker.ui.elements import Tag, Text, link
from messagebroker.ui.portal import Portal
from messagebroker.ui.sessions import End, Session
from messagebroker.ui.unread import Unread
from messagebroker.ui.wording import explanation

PAGES = (
    ("Messages", "/messages", {"messages.list", "messages.own"}),
    ("Inbox", "/inbox", {"inbox.own"}),
    ("Queues", "/queues", {"queues.read"}),
)
"""Name, path, and the permissions of which one is enough."""

DEPTH_SECONDS = 5.0
UNREAD_SECONDS = 15.0


@contextmanager
def frame(portal: Portal, request: Request, title: str) -> Iterator[None]:
    """A page for people who are logged in; ends with their session."""
    session = portal.session_of(request)
    _leave_with(session)
    _count(portal)
    ui.page_title(f"{title} · Message Broker")
    link("Skip to the content", "#content", "skip")
    with Tag("header", "top"):
        link("Message Broker", "/messages", "brand")
        with Tag("nav", aria_label="Pages"):
            for name, path, enough in PAGES:
                if not enough & set(session.person.permissions):
                    continue
                is_here = request.url.path.startswith(path)
                with link(name, path, **({"aria_current": "page"} if is_here else {})):
                    if path == "/inbox":
                        Unread(portal, session, portal.caller_of(request, session), UNREAD_SECONDS)
        if "queues.read" in session.person.permissions:
            Depth(portal, session, portal.caller_of(request, session), DEPTH_SECONDS)
        _person(session)
    with Tag("main", "page", id="content", tabindex=-1):
        yield


@contextmanager
def plain_frame(portal: Portal, title: str) -> Iterator[None]:
    """A page for a single form."""
    _count(portal)
    ui.page_title(f"{title} · Message Broker")
    with Tag("main", "single", id="content"), Tag("div", "card narrow"):
        Text("p", "Message Broker", "brand")
        Text("h1", title)
        yield


def trouble(portal: Portal, request: Request, title: str, error: ClientError) -> Response | None:
    """The page to show instead of one that could not be made; back to the login when main knows the token no more."""
    if needs_login(portal, request, error):
        return RedirectResponse(f"/login?ended={End.EXPIRED}", 303)
    with frame(portal, request, title):
        draw_trouble(error)
        wrong_address = isinstance(error, Problem) and error.status == 400  # such as a cursor of long ago
        link("Try again", request.url.path if wrong_address else _address(request), "button")
    return None


def draw_trouble(error: ClientError) -> None:
    """What went wrong, in a card."""
    heading, text = explanation(error)
    with Tag("section", "card trouble", role="alert"):
        Text("h2", heading)
        Text("p", text)


def needs_login(portal: Portal, request: Request, error: ClientError) -> bool:
    """Whether `error` says that the person's token has ended; ends the session then."""
    if not (isinstance(error, Problem) and error.status == 401):
        return False
    portal.sessions.end(portal.session_of(request), End.EXPIRED)
    return True


def _address(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _person(session: Session) -> None:
    person = session.person
    with Tag("button", "person", type="button", popovertarget="account", aria_label=f"Account of {person.email}"):
        Text("span", person.email[:1].upper(), "initial", aria_hidden="true")
        Text("span", person.email, "email")
    with Tag("div", "menu", id="account", popover="auto"):  # closes on Escape and on a click elsewhere
        Text("p", person.email, "who")
        Text("p", person.role.replace("_", " "), "role")
        link("Change password", "/password", "item")
        with Tag("form", method="post", action="/logout"):
            Text("button", "Log out", "item", type="submit")


def _leave_with(session: Session) -> None:
    page = context.client

    def leave(reason: End) -> None:
        page.open(f"/login?ended={reason}")

    session.on_end.add(leave)
    page.on_delete(lambda: session.on_end.discard(leave))


def _count(portal: Portal) -> None:
    def gone() -> None:
        portal.metrics.pages.dec()

    portal.metrics.pages.inc()
    context.client.on_delete(gone)
