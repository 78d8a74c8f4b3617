"""The login page, logging in and logging out."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from nicegui import Client, ui
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from messagebroker.client import ClientError, Problem
from messagebroker.ui.elements import Tag, field, link, notice, submit
from messagebroker.ui.forms import read_form
from messagebroker.ui.frame import plain_frame
from messagebroker.ui.gate import COOKIE, cookie_of, is_local
from messagebroker.ui.portal import SESSION, Portal
from messagebroker.ui.sessions import End
from messagebroker.ui.wording import login_problem

HOME = "/messages"
ASKS_FOR_CODE = ("second-factor-required", "wrong-code")
ENDED: dict[str, tuple[str, str]] = {
    End.LOGOUT: ("You are logged out.", "good"),
    End.IDLE: ("You were logged out because nothing happened for a while.", "info"),
    End.EXPIRED: ("Your login has expired. Please log in again.", "info"),
    End.REPLACED: ("You were logged out because you logged in on many other devices.", "info"),
    "reset": ("Your new password is set. Log in with it.", "good"),
    End.PASSWORD: ("Your password was changed. Log in with the new one.", "info"),
}


class Login:
    """Everything at `/login` and `/logout`. Forms, not sockets: only an HTTP answer can set an HttpOnly cookie."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.page = ui.page("/login", title="Log in · Message Broker")
        self.page(self.show)

    def show(self, request: Request, next: str = HOME, ended: str = "") -> Response | None:
        """The form; people who are logged in go where they wanted to."""
        if request.scope[SESSION] is not None:
            return RedirectResponse(next if is_local(next) else HOME, 303)
        self._draw(next, "", ENDED.get(ended, ("", "")))
        return None

    async def log_in(self, request: Request) -> Response:
        """Opens a session, or shows the form again with what went wrong."""
        form = await read_form(request)
        email, target = form.get("email", "").strip(), form.get("next", HOME)
        caller = self.portal.caller_of(request)
        try:
            code = form.get("code", "").strip() or None
            token = await self.portal.api.login(email, form.get("password", ""), code, caller=caller)
            person = await self.portal.api.me(replace(caller, token=token.access_token))
        except ClientError as error:
            return self._again(request, target, email, error)
        before = self.portal.sessions.find(cookie_of(request.headers))
        if before is not None:
            self.portal.sessions.end(before, End.LOGOUT)
        value = self.portal.sessions.open(token, person)
        answer = RedirectResponse(target if is_local(target) else HOME, 303)
        give_cookie(answer, value)
        return answer

    async def log_out(self, request: Request) -> Response:
        """Ends the session, also in the person's other tabs, and on main."""
        session = self.portal.session_of(request)
        caller = self.portal.caller_of(request, session)
        self.portal.sessions.end(session, End.LOGOUT)
        with contextlib.suppress(ClientError):  # the token is forgotten here, and ends by itself
            await self.portal.api.logout(caller)
        answer = RedirectResponse(f"/login?ended={End.LOGOUT}", 303)
        answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
        return answer

    def _again(self, request: Request, target: str, email: str, error: ClientError) -> Response:
        with Client(self.page, request=request) as page:
            wanted = isinstance(error, Problem) and error.name in ASKS_FOR_CODE
            self._draw(target, email, (login_problem(error), "bad"), code=wanted)
        return page.build_response(request, getattr(error, "status", 503))

    def _draw(self, target: str, email: str, message: tuple[str, str], *, code: bool = False) -> None:
        with plain_frame(self.portal, "Log in"):
            if message[0]:
                notice(*message)
            with Tag("form", method="post", action="/login"):
                Tag("input", type="hidden", name="next", value=target if is_local(target) else HOME)
                first = "password" if email else "email"
                field("E-mail address", "email", "email", autocomplete="username", value=email, autofocus=first == "email")
                field("Password", "password", "password", autocomplete="current-password", autofocus=first == "password")
                if code:
                    field("Code from your authenticator, or a recovery code", "code", "text", autocomplete="one-time-code")
                submit("Log in")
            link("Forgotten it?", "/forgotten", "hint")


def give_cookie(answer: Response, value: str) -> None:
    """Ends with the browser; the server forgets it earlier."""
    answer.set_cookie(COOKIE, value, path="/", secure=True, httponly=True, samesite="lax")
