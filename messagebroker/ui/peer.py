"""Tells the application whether a connection showed the monitoring system's certificate; uvicorn itself does not."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from messagebroker.ui.tls import is_monitoring

IS_MONITORING = "portal.is_monitoring"  # in the ASGI scope


class PeerProtocol(H11Protocol):
    """One HTTP connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The handshake is over: the certificate is known for as long as the connection lives."""
        super().connection_made(transport)
        if is_monitoring(transport.get_extra_info("ssl_object")):
            self.app = cast(Any, _Marked(cast(Any, self.app)))


class _Marked:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[IS_MONITORING] = True
        await self.app(scope, receive, send)
