"""Security headers on every answer, and a fresh nonce on every script of every page.

What NiceGUI needs of the content security policy: `unsafe-eval`, because Vue compiles templates in the browser, and inline
styles. Inline scripts run only with the nonce, and nothing is loaded from anywhere else.
"""

from __future__ import annotations

import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SCRIPT = re.compile(rb"<script(?=[\s>])")
_HOST = re.compile(r"[A-Za-z0-9.\-\[\]:]{1,260}")
_LOCAL = re.compile(r"(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?")

FIXED = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


def policy(nonce: str, host: str) -> str:
    """The content security policy of one page."""
    socket = f" wss://{host}" if _HOST.fullmatch(host) else ""  # older Safari does not count wss: as 'self'
    return (
        "default-src 'none'; "
        f"script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self'; "
        f"connect-src 'self'{socket}; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


class SecurityHeaders:
    """ASGI middleware; holds back a page's HTML until it can be stamped with the nonce."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on and dresses the answer."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        answer = _Answer(Headers(scope=scope).get("host", ""), scope["path"], send)
        return await self.app(scope, receive, answer.send)


class _Answer:
    def __init__(self, host: str, path: str, send: Send) -> None:
        self.host = host
        self.path = path
        self.pass_on = send
        self.nonce = secrets.token_urlsafe(16)
        self.held: Message | None = None
        self.body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._dress(message)
            if MutableHeaders(scope=message).get("content-type", "").startswith("text/html"):
                self.held = message
                return
        elif self.held is not None and message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            if not message.get("more_body"):
                await self._release()
            return
        await self.pass_on(message)

    async def _release(self) -> None:
        assert self.held is not None
        # NiceGUI escapes `<` in everything that pages show, so only its own and our scripts match
        stamped = _SCRIPT.sub(b'<script nonce="' + self.nonce.encode() + b'"', self.body)
        MutableHeaders(scope=self.held)["content-length"] = str(len(stamped))
        await self.pass_on(self.held)
        await self.pass_on({"type": "http.response.body", "body": stamped})

    def _dress(self, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        for name, value in FIXED.items():
            headers[name] = value
        headers["content-security-policy"] = policy(self.nonce, self.host)
        if not _LOCAL.fullmatch(self.host):  # a browser would then refuse every other local server on plain HTTP
            headers["strict-transport-security"] = "max-age=31536000"
        if "cache-control" not in headers and not self.path.startswith(("/_nicegui/", "/static/")):
            headers["cache-control"] = "no-store"
