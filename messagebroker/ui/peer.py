"""A connection of the portal: what uvicorn's own leaves out. Who the peer is, and a deadline for its headers."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from messagebroker.ui.tls import is_monitoring

IS_MONITORING = "portal.is_monitoring"  # in the ASGI scope


def protocol(header_seconds: float) -> type[H11Protocol]:
    """The protocol class for uvicorn, which makes one of it for every connection."""

    class PeerProtocol(H11Protocol):
        deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """The handshake is over: the certificate is known for as long as the connection lives."""
            super().connection_made(transport)
            if is_monitoring(transport.get_extra_info("ssl_object")):
                self.app = cast(Any, _Marked(cast(Any, self.app)))
            self.deadline = self.loop.call_later(header_seconds, transport.abort)

        def data_received(self, data: bytes) -> None:
            """Trickling headers do not move the deadline."""
            super().data_received(data)
            is_heading = self.conn.their_state is h11.IDLE
            if not is_heading:
                self._drop_deadline()
            elif self.deadline is None:  # a further request on the same connection has begun
                self.deadline = self.loop.call_later(header_seconds, self.transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            """Nothing left to wait for."""
            self._drop_deadline()
            super().connection_lost(exc)

        def _drop_deadline(self) -> None:
            if self.deadline is not None:
                self.deadline.cancel()
                self.deadline = None

    return PeerProtocol


class _Marked:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[IS_MONITORING] = True
        await self.app(scope, receive, send)
