"""Who gets in: against a plain application, without a server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from messagebroker.client.answers import Person, Token
from messagebroker.ui.gate import COOKIE, Gate, is_local
from messagebroker.ui.sessions import Sessions

HOST = "portal.example.org:5000"
OWN = f"https://{HOST}"


class Asked:
    """A gate in front of an application that only says that it was reached."""

    def __init__(self) -> None:
        self.sessions = Sessions(60)
        self.gate = Gate(self._reached, self.sessions, "https://public.example.org")
        person = Person(email="ada@example.org", role="admin")
        self.ada = self.sessions.open(Token(access_token="t"), person)
        self.new = self.sessions.open(Token(access_token="t", must_change_password=True), person)

    async def _reached(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def __call__(
        self,
        path: str,
        *,
        method: str = "GET",
        cookie: str | None = None,
        origin: str | None = None,
        kind: str = "http",
        query: str = "",
    ) -> tuple[int, str]:
        """The status and where it leads; (0, "closed") for a refused socket."""
        headers = [(b"host", HOST.encode())]
        headers += [(b"cookie", f"other=1; {COOKIE}={cookie}".encode())] if cookie else []
        headers += [(b"origin", origin.encode())] if origin else []
        scope = {"type": kind, "path": path, "query_string": query.encode(), "headers": headers, "scheme": "https"}
        if kind == "http":
            scope["method"] = method
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        asyncio.run(self.gate(scope, receive, send))
        if sent[0]["type"] == "websocket.close":
            return 0, "closed"
        return sent[0]["status"], dict(sent[0]["headers"]).get(b"location", b"").decode()


@pytest.fixture
def ask() -> Asked:
    return Asked()


@pytest.mark.parametrize(
    "path", ["/messages", "/messages/1", "/queues", "/password", "/logout", "/anything", "/loginx", "/nicegui"]
)
def test_a_stranger_is_led_to_the_login_from_everywhere(ask: Asked, path: str) -> None:
    assert ask(path) == (303, f"/login?next={path.replace('/', '%2F')}")
    assert ask(path, cookie="guess") == ask(path)


@pytest.mark.parametrize(
    "path",
    [
        "/login",
        "/health",
        "/api/v1/health",
        "/api/v1/health/ready",
        "/metrics",
        "/api/v1/metrics",
        "/static/portal.css",
        "/_nicegui/3/static/vue.js",
    ],
)
def test_what_strangers_need(ask: Asked, path: str) -> None:
    assert ask(path) == (200, "")


def test_the_way_back_keeps_the_query(ask: Asked) -> None:
    assert ask("/messages", query="status=failed&cursor=a") == (303, "/login?next=%2Fmessages%3Fstatus%3Dfailed%26cursor%3Da")
    assert ask("/") == (303, "/login")


def test_a_person_gets_in(ask: Asked) -> None:
    assert ask("/messages", cookie=ask.ada) == (200, "")


def test_a_one_time_password_opens_one_page(ask: Asked) -> None:
    assert ask("/messages", cookie=ask.new) == (303, "/password")
    assert ask("/queues", cookie=ask.new) == (303, "/password")
    assert ask("/password", cookie=ask.new) == (200, "")
    assert ask("/logout", method="POST", cookie=ask.new, origin=OWN) == (200, "")


@pytest.mark.parametrize(
    "origin", [None, "null", "https://evil.example", "http://portal.example.org:5000", "https://portal.example.org"]
)
def test_other_sites_change_nothing_and_open_no_socket(ask: Asked, origin: str | None) -> None:
    for path in ("/login", "/logout", "/password"):
        assert ask(path, method="POST", cookie=ask.ada, origin=origin)[0] == 403
    assert ask("/_nicegui_ws/socket.io/", kind="websocket", cookie=ask.ada, origin=origin) == (0, "closed")


@pytest.mark.parametrize("origin", [OWN, "https://public.example.org"])
def test_ones_own_site_does(ask: Asked, origin: str) -> None:
    assert ask("/logout", method="POST", cookie=ask.ada, origin=origin) == (200, "")


def test_a_form_of_somebody_whose_session_ended_leads_to_the_login(ask: Asked) -> None:
    assert ask("/password", method="POST", origin=OWN) == (303, "/login?ended=expired")


def test_broken_cookies_are_no_cookies(ask: Asked) -> None:
    assert ask("/messages", cookie='"; \x01=')[0] == 303


@pytest.mark.parametrize(
    ("target", "local"),
    [("/messages", True), ("/messages?status=failed", True), ("//evil.example", False), ("/\\evil.example", False),
     ("https://evil.example", False), ("javascript:alert(1)", False), ("/\t/evil.example", False), ("/\n/e", False),
     ("//[", False)],
)  # fmt: skip
def test_the_login_leads_to_pages_of_this_portal_only(target: str, local: bool) -> None:
    assert is_local(target) is local
