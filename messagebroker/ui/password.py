"""The page to change one's password; the only one that opens while the password is somebody else's choice."""

from __future__ import annotations

from dataclasses import replace

from nicegui import Client, ui
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from messagebroker.client import ClientError, Problem
from messagebroker.ui.elements import Tag, Text, field, link, notice, submit
from messagebroker.ui.forms import read_form
from messagebroker.ui.frame import needs_login, plain_frame
from messagebroker.ui.login import HOME, give_cookie
from messagebroker.ui.portal import Portal
from messagebroker.ui.sessions import End, Session
from messagebroker.ui.wording import explanation

SHORTEST = 12  # characters; main decides, this only saves a round trip


class Password:
    """Everything at `/password`."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.page = ui.page("/password", title="Password · Message Broker")
        self.page(self.show)

    def show(self, request: Request) -> None:
        """The form."""
        self._draw(self.portal.session_of(request), "")

    async def change(self, request: Request) -> Response:
        """Sets the new password; every session of the person ends and a new one begins here."""
        session = self.portal.session_of(request)
        self.portal.sessions.used(session)
        form = await read_form(request)
        current, new = form.get("current", ""), form.get("new", "")
        if new != form.get("repeated", ""):
            return self._again(request, 422, "The two new passwords differ. Type the new one twice.")
        if new == current:
            return self._again(request, 422, "The new password is the old one. Choose another.")
        caller = self.portal.caller_of(request, session)
        try:
            token = await self.portal.api.change_password(caller, current, new)
            person = await self.portal.api.me(replace(caller, token=token.access_token))
        except ClientError as error:
            return self._failed(request, error)
        self.portal.sessions.end_all_of(person.email, End.PASSWORD)
        answer = RedirectResponse(HOME, 303)
        give_cookie(answer, self.portal.sessions.open(token, person))
        return answer

    def _failed(self, request: Request, error: ClientError) -> Response:
        if isinstance(error, Problem) and error.status in (403, 422):
            return self._again(request, 422, error.detail)
        if needs_login(self.portal, request, error):
            return RedirectResponse(f"/login?ended={End.EXPIRED}", 303)
        heading, text = explanation(error)
        return self._again(request, getattr(error, "status", 503), f"{heading}. {text}")

    def _again(self, request: Request, status: int, problem: str) -> Response:
        with Client(self.page, request=request) as page:
            self._draw(self.portal.session_of(request), problem)
        return page.build_response(request, status)

    def _draw(self, session: Session, problem: str) -> None:
        with plain_frame(self.portal, "Choose a new password" if session.must_change_password else "Change your password"):
            if problem:
                notice(problem, "bad")
            elif session.must_change_password:
                notice("Your password was made by somebody else. Choose one that only you know.")
            with Tag("form", method="post", action="/password"):
                Tag("input", type="email", name="email", value=session.person.email, autocomplete="username", hidden=True)
                field("Current password", "current", "password", autocomplete="current-password", autofocus=True)
                field("New password", "new", "password", autocomplete="new-password", minlength=SHORTEST)
                field("New password again", "repeated", "password", autocomplete="new-password", minlength=SHORTEST)
                submit("Set the new password")
            Text("p", f"At least {SHORTEST} characters. A few unrelated words are better than a short riddle.", "hint")
            if not session.must_change_password:
                link("Back", HOME, "hint")
            with Tag("form", method="post", action="/logout"):
                Text("button", "Log out", "plain", type="submit")
