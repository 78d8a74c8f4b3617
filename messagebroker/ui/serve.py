"""The portal's process: uvicorn with the component's certificate, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import threading
from collections.abc import Iterator

import uvicorn

from messagebroker.client import ClientError
from messagebroker.errors import ConfigurationError
from messagebroker.roles import BY_NAME
from messagebroker.settings import Settings
from messagebroker.ui.application import make, make_portal
from messagebroker.ui.peer import protocol
from messagebroker.ui.portal import Portal
from messagebroker.ui.tls import ServerCertificate

log = logging.getLogger("messagebroker.ui")

LOOK_SECONDS = 1.0  # at the certificate's files and at sessions that have ended
RENEWAL_FIRST_SECONDS = 3.0  # main may be starting too
RENEWAL_SECONDS = 3600.0
RENEWAL_AGAIN_SECONDS = 300.0  # after a failure
STOP_SECONDS = BY_NAME["portal"].stop_seconds - 5


def serve(settings: Settings, stop: threading.Event) -> None:
    """Serves the portal until `stop` is set; works in any thread, on every system.

    Raises:
        ConfigurationError: the certificate cannot be used, or somebody else has the port.
    """
    for noisy in ("nicegui", "uvicorn.error", "websockets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    certificate = ServerCertificate(settings)
    portal = make_portal(settings)
    with contextlib.closing(_listen(settings)) as listener:
        config = uvicorn.Config(
            make(portal),
            loop="asyncio",
            http=protocol(settings.header_seconds),
            ssl_context_factory=lambda config, default: certificate.context,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            ws_max_size=1024 * 1024,
            h11_max_incomplete_event_size=settings.max_header_bytes,
            limit_concurrency=settings.max_connections,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        asyncio.run(_run(_Server(config), listener, portal, certificate, stop, settings.handshake_seconds))


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process' owner, who sets the stop event."""
        yield


async def _run(
    server: _Server,
    listener: socket.socket,
    portal: Portal,
    certificate: ServerCertificate,
    stop: threading.Event,
    handshake_seconds: float,
) -> None:
    loop = asyncio.get_running_loop()
    # uvicorn asks for a server without naming this deadline, which is then asyncio's own: a minute
    loop.create_server = functools.partial(  # type: ignore[method-assign]
        loop.create_server, ssl_handshake_timeout=handshake_seconds
    )

    def wait_for_stop() -> None:
        stop.wait()
        with contextlib.suppress(RuntimeError):  # the loop has ended on its own
            loop.call_soon_threadsafe(lambda: setattr(server, "should_exit", True))

    threading.Thread(target=wait_for_stop, name="portal-stop", daemon=True).start()
    log.info("portal listens on %s port %s", *listener.getsockname()[:2])
    tasks = [asyncio.create_task(_keep_house(portal, certificate)), asyncio.create_task(_renew(portal))]
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in tasks:
            task.cancel()
        await portal.api.close()


async def _keep_house(portal: Portal, certificate: ServerCertificate) -> None:
    refreshing: asyncio.Task[None] | None = None
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        portal.sessions.sweep()
        if refreshing is None or refreshing.done():
            refreshing = asyncio.create_task(portal.refresh_tokens())  # main may be slow: nothing else waits for it
        if certificate.refresh():
            log.info("the renewed portal certificate is in use")


async def _renew(portal: Portal) -> None:
    """The portal's own certificate at two thirds of its life; the housekeeping takes it up."""
    pause = RENEWAL_FIRST_SECONDS
    while True:
        await asyncio.sleep(pause)
        pause = RENEWAL_SECONDS
        try:
            if renewed := await portal.api.renew_component_certificate(only_when_due=True):
                log.info("renewed the portal's certificate, good until %s", renewed.not_after)
        except ClientError as error:
            pause = RENEWAL_AGAIN_SECONDS
            log.warning("the portal's certificate cannot be renewed yet: %s", error)


def _listen(settings: Settings) -> socket.socket:
    host, port = settings.portal_host, settings.portal_port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
        # on Windows REUSEADDR would let a second process take the port in silence
        option: int = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind(address)
        listener.listen(512)
    except OSError as error:
        raise ConfigurationError(f"the portal cannot listen on PORTAL_HOST {host}, PORTAL_PORT {port}: {error}") from error
    listener.setblocking(False)
    return listener
