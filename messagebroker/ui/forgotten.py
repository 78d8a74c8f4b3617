"""A forgotten password: asking for a code by e-mail at `/forgotten`, and using it at `/reset`."""

from __future__ import annotations

from nicegui import Client, ui
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from messagebroker.client import ClientError, Problem
from messagebroker.ui.elements import Tag, Text, field, link, notice, submit
from messagebroker.ui.forms import read_form
from messagebroker.ui.frame import plain_frame
from messagebroker.ui.password import SHORTEST
from messagebroker.ui.portal import Portal
from messagebroker.ui.wording import explanation

SENT = (
    "If this address belongs to somebody here, an e-mail with a code is on its way. It is good for half an hour. "
    "If you asked less than ten minutes ago, use the code that came then."
)


class Forgotten:
    """Forms for people who are not logged in; the answer never says whether an address exists."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.ask_page = ui.page("/forgotten", title="Forgotten password · Message Broker")
        self.ask_page(self.show_ask)
        self.reset_page = ui.page("/reset", title="New password · Message Broker")
        self.reset_page(self.show_reset)

    def show_ask(self) -> None:
        """The form for the address."""
        self._draw_ask("")

    def show_reset(self) -> None:
        """The form for the code and the new password."""
        self._draw_reset("", "")

    async def ask(self, request: Request) -> Response:
        """Asks main to send a code; goes on to where it is used."""
        form = await read_form(request)
        try:
            await self.portal.api.forgotten(form.get("email", "").strip(), caller=self.portal.caller_of(request))
        except ClientError as error:
            with Client(self.ask_page, request=request) as page:
                self._draw_ask(_said(error))
            return page.build_response(request, getattr(error, "status", 503))
        return self._again(request, 200, SENT, "info")

    async def reset(self, request: Request) -> Response:
        """Sets the new password."""
        form = await read_form(request)
        new = form.get("new", "")
        if new != form.get("repeated", ""):
            return self._again(request, 422, "The two new passwords differ. Type the new one twice.", "bad")
        try:
            await self.portal.api.reset_password(form.get("code", "").strip(), new, caller=self.portal.caller_of(request))
        except ClientError as error:
            return self._again(request, getattr(error, "status", 503), _said(error), "bad")
        return RedirectResponse("/login?ended=reset", 303)

    def _again(self, request: Request, status: int, message: str, kind: str) -> Response:
        with Client(self.reset_page, request=request) as page:
            self._draw_reset(message, kind)
        return page.build_response(request, status)

    def _draw_ask(self, problem: str) -> None:
        with plain_frame(self.portal, "Forgotten password"):
            if problem:
                notice(problem, "bad")
            with Tag("form", method="post", action="/forgotten"):
                field("E-mail address", "email", "email", autocomplete="username", autofocus=True)
                submit("Send me a code")
            link("I have a code", "/reset", "hint")
            link("Back", "/login", "hint")

    def _draw_reset(self, message: str, kind: str) -> None:
        with plain_frame(self.portal, "Choose a new password"):
            if message:
                notice(message, kind)
            with Tag("form", method="post", action="/reset"):
                field("Code from the e-mail", "code", "text", autocomplete="off", autofocus=True)
                field("New password", "new", "password", autocomplete="new-password", minlength=SHORTEST)
                field("New password again", "repeated", "password", autocomplete="new-password", minlength=SHORTEST)
                submit("Set the new password")
            Text("p", f"At least {SHORTEST} characters. A few unrelated words are better than a short riddle.", "hint")
            link("Back", "/login", "hint")


def _said(error: ClientError) -> str:
    """Main says in words what is wrong with a code, a password or an address."""
    if isinstance(error, Problem) and (error.status in (400, 403, 422) or error.name == "mail-not-configured"):
        return error.detail
    heading, text = explanation(error)
    return f"{heading}. {text}"
