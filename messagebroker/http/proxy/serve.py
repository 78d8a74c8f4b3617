"""The role `proxy`."""

from __future__ import annotations

import threading

from messagebroker.http.certificate_keeper import CertificateKeeper
from messagebroker.http.proxy.app import make
from messagebroker.http.proxy.certificate import from_main
from messagebroker.http.server import Server
from messagebroker.settings import Settings

SUBMIT_THREADS = 4
"""They never wait for anything but a write to Redis, and one of them at a time; more would fight over the interpreter."""


def serve(settings: Settings, stop: threading.Event) -> None:
    """Serves until `stop` is set; requests in hand are finished."""
    app, parts = make(settings)
    server = Server(
        app,
        host=settings.proxy_host,
        port=settings.proxy_port,
        role="proxy",
        settings=settings,
        threads=min(SUBMIT_THREADS, settings.proxy_threads),
    )
    parts.watcher.start()
    parts.admission.start()
    keeper = CertificateKeeper("proxy", from_main(settings, "proxy"))
    keeper.start()
    try:
        server.run(stop)
    finally:
        keeper.stop()
        parts.admission.stop()
        parts.watcher.stop()
        parts.committer.close()
        parts.patience.close()
        parts.lookup.close()
