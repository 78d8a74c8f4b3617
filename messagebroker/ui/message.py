"""One message: its facts, its times, and its body for those who ask for it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from nicegui import context, ui
from starlette.requests import Request
from starlette.responses import Response

from messagebroker.client import ClientError, Message
from messagebroker.ui.elements import Tag, Text, link, notice
from messagebroker.ui.frame import draw_trouble, frame, needs_login, trouble
from messagebroker.ui.markup import show
from messagebroker.ui.messages import BUILD_SECONDS, badge
from messagebroker.ui.portal import Portal
from messagebroker.ui.sessions import End
from messagebroker.ui.wording import exact, size

TITLE = "Message"
OPENING = {"messages.open", "messages.own"}
"""Permissions of which one is enough to open what one sees."""


class MessagePage:
    """Everything at `/messages/ID`."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        ui.page("/messages/{message_id}", title=TITLE, response_timeout=BUILD_SECONDS)(self.show)

    async def show(self, request: Request, message_id: str) -> Response | None:
        """What is known about the message without opening it."""
        session = self.portal.session_of(request)
        try:
            message = await self.portal.api.message(self.portal.caller_of(request, session), message_id)
        except ClientError as error:
            return trouble(self.portal, request, TITLE, error)
        with frame(self.portal, request, TITLE):
            link("← Messages", "/messages", "back")
            with Tag("div", "heading"):
                Text("h1", TITLE)
                show(badge(message.status), "inline")
            Text("p", message.message_id, "id")
            with Tag("div", "columns"):
                _facts(message)
                _timeline(message)
            if not OPENING.isdisjoint(session.person.permissions):
                Opening(self.portal, request, message.message_id)
            else:
                notice("The body is stored encrypted, and your role does not include opening it.")
        return None


class Opening:
    """The card that holds the body once the person has asked for it."""

    def __init__(self, portal: Portal, request: Request, message_id: str) -> None:
        self.portal = portal
        self.request = request
        self.message_id = message_id
        with Tag("section", "card body") as self.card:
            Text("h2", "Body")
            with Tag("div", aria_live="polite") as self.place:
                notice("The body is stored encrypted. Opening it is recorded in the audit log under your name.")
                self.button = Text("button", "Open body", "button primary", type="button").on("click", self.open)

    async def open(self) -> None:
        """Asks main for the body; main writes the audit entry."""
        session = self.portal.session_of(self.request)
        if not self.portal.sessions.is_open(session):
            context.client.open(f"/login?ended={End.EXPIRED}")
            return
        self.portal.sessions.used(session)
        self.button.props["disabled"] = True
        try:
            caller = self.portal.caller_of(self.request, session)
            message = await self.portal.api.message(caller, self.message_id, body=True)
        except ClientError as error:
            if not needs_login(self.portal, self.request, error):  # else the session's end has led this page away
                self._draw_failure(error)
            return
        self._draw(message)

    def _draw(self, message: Message) -> None:
        self.place.clear()
        with self.place:
            draw_body(message)

    def _draw_failure(self, error: ClientError) -> None:
        self.button.props.pop("disabled", None)
        self.button.update()
        with self.place:
            draw_trouble(error)


def draw_body(message: Message) -> None:
    """What was sealed, now that it is open."""
    notice("You opened this body; the audit log has a record of it.")
    if message.sender:
        with Tag("dl"):
            pair("Sender", message.sender)
    Text("pre", as_text(message.body), tabindex=0, aria_label="Body of the message")
    if message.metadata:
        Text("h3", "Metadata")
        Text("pre", as_text(message.metadata), tabindex=0, aria_label="Metadata of the message")


def as_text(value: Any) -> str:
    """Text as it is, anything else as indented JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def _facts(message: Message) -> None:
    with Tag("section", "card"):
        Text("h2", "Facts")
        with Tag("dl"):
            pair("Client", message.client_id)
            pair("Topic", message.topic)
            pair("Priority", message.priority)
            pair("Size", size(message.size))
            pair("Subscriptions", str(message.routed) if message.routed else "none matched")
            pair("Attempts", str(message.attempts))
            if message.correlation_id:
                pair("Correlation", message.correlation_id)
            if message.alias_of:
                pair("Stored as", message.alias_of)


def _timeline(message: Message) -> None:
    due = "Lease ends" if message.status == "processing" else "Due"
    named = (
        ("Accepted", message.created_at),
        ("Stored", message.stored_at),
        (due, message.due_at),
        ("Expires", message.expires_at),
    )
    known: list[tuple[datetime, str]] = sorted((at, name) for name, at in named if at is not None)
    with Tag("section", "card"):
        Text("h2", "Timeline")
        with Tag("ol", "timeline"):
            for at, name in known:
                with Tag("li"):
                    Text("span", name)
                    Text("time", exact(at), datetime=at.isoformat())


def pair(name: str, value: str) -> None:
    """A name and what it stands for, in a `dl`."""
    Text("dt", name)
    Text("dd", value)
