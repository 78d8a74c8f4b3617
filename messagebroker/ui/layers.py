"""Two thin layers that every request passes: compression of assets, and the metrics."""

from __future__ import annotations

import time

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from messagebroker.ui.gate import ASSETS
from messagebroker.ui.metrics import Metrics


class CompressedAssets:
    """Compresses scripts, styles and fonts, and nothing that depends on who asks."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.compressed = GZipMiddleware(app, minimum_size=1000, compresslevel=6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        is_asset = scope["type"] == "http" and scope["path"].startswith(ASSETS)
        await (self.compressed if is_asset else self.app)(scope, receive, send)


class Measured:
    """Counts and times answers, by kind of address so that no address names a label."""

    KINDS = ("/messages/", "/messages", "/queues", "/login", "/logout", "/password", "/health", "/metrics")

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        route = self._route(scope["path"])
        began = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.metrics.requests.labels(scope["method"], route, message["status"]).inc()
                self.metrics.seconds.labels(route).observe(time.perf_counter() - began)
            await send(message)

        return await self.app(scope, receive, counted)

    def _route(self, path: str) -> str:
        if path.startswith(ASSETS):
            return "assets"
        path = path.removeprefix("/api/v1")  # the same under another name
        kind = next((kind for kind in self.KINDS if path.startswith(kind)), "other")
        return "/messages/{id}" if kind == "/messages/" else kind
