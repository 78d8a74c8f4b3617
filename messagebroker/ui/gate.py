"""Lets a request in or not, before anything else sees it: sessions, forced password changes, foreign origins."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, urlsplit

from nicegui import Client
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from messagebroker.ui.portal import SESSION
from messagebroker.ui.sessions import Session, Sessions

COOKIE = "__Host-portal"  # the prefix makes browsers insist on Secure, Path=/ and no Domain
SOCKET = "/_nicegui_ws/"
ASSETS = ("/_nicegui/", "/static/", "/favicon.ico")
_FOR_MACHINES = ("/health", "/health/ready", "/metrics")
OPEN = frozenset({"/login", "/forgotten", "/reset", *_FOR_MACHINES, *(f"/api/v1{path}" for path in _FOR_MACHINES)})
WITH_OLD_PASSWORD = frozenset({"/password", "/logout"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate:
    """ASGI middleware. Everything that is not listed above needs a session."""

    def __init__(self, app: ASGIApp, sessions: Sessions, portal_url: str) -> None:
        self.app = app
        self.sessions = sessions
        self.own_origin = portal_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on or answers it."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        session = self.sessions.find(cookie_of(headers))
        scope[SESSION] = session
        refusal = self._refusal(scope, headers, session)
        if refusal is None:
            if session is not None and not scope["path"].startswith(("/_nicegui", "/static/")):
                self.sessions.used(session)
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008, "reason": "not for this page"})
        return await refusal(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers, session: Session | None) -> Response | None:
        path: str = scope["path"]
        method: str = scope.get("method", "GET")
        changes_something = scope["type"] == "websocket" or method not in SAFE_METHODS
        if changes_something and not self._is_own_origin(headers):
            return PlainTextResponse("This request comes from another site.", status_code=403)
        if path.startswith(SOCKET):
            return None if _owns_page(scope, session) else PlainTextResponse("This page belongs to somebody else.", 403)
        if path in OPEN or path.startswith(ASSETS):
            return None
        if session is None:
            return _to_login(scope) if method in SAFE_METHODS else RedirectResponse("/login?ended=expired", 303)
        if session.must_change_password and path not in WITH_OLD_PASSWORD:
            return RedirectResponse("/password", 303)
        return None

    def _is_own_origin(self, headers: Headers) -> bool:
        origin = headers.get("origin", "")
        return origin != "" and origin in (f"https://{headers.get('host', '')}", self.own_origin)


def cookie_of(headers: Headers) -> str | None:
    """The session cookie's value."""
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return None
    return cookies[COOKIE].value if COOKIE in cookies else None


def is_local(target: str) -> bool:
    """Whether `target` is a path of this portal and not a way to another site."""
    try:
        parts = urlsplit(target)
    except ValueError:  # such as `//[`
        return False
    return target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc


def _owns_page(scope: Scope, session: Session | None) -> bool:
    """A page's socket belongs to the session that loaded the page: its id alone, seen by somebody, opens nothing."""
    page_id = parse_qs(scope["query_string"].decode("latin-1")).get("client_id", [""])[0]
    page = Client.instances.get(page_id)
    owner = page.request.scope.get(SESSION) if page is not None else None
    return owner is None or owner is session


def _to_login(scope: Scope) -> Response:
    path = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
    return RedirectResponse("/login" if path == "/" else f"/login?next={quote(path, safe='')}", 303)
