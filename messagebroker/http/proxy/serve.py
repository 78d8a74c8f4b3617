"""The role `proxy`."""

from __future__ import annotations

import threading

from messagebroker.http.proxy.app import make
from messagebroker.http.server import Server
from messagebroker.settings import Settings


def serve(settings: Settings, stop: threading.Event) -> None:
    """Serves until `stop` is set; requests in hand are finished."""
    app, parts = make(settings)
    server = Server(
        app,
        host=settings.proxy_host,
        port=settings.proxy_port,
        role="proxy",
        settings=settings,
        threads=settings.proxy_threads,
    )
    parts.watcher.start()
    parts.admission.start()
    try:
        server.run(stop)
    finally:
        parts.admission.stop()
        parts.watcher.stop()
        parts.committer.close()
        parts.lookup.close()
