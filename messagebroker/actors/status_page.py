"""A worker's small HTTP server: health, readiness and metrics, in plain text for the machine itself or its network."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST

from messagebroker.ops.checks import Check, Checks


class StatusPage:
    """Serves from `start` to `stop`.

    Args:
        host, port: where; port 0 takes a free one.
        alive: checks of the process itself, for `/health`.
        ready: checks of what it needs, for `/health/ready`.
        metrics: makes the text of `/metrics`; None: there is no such page.
    """

    def __init__(
        self, host: str, port: int, *, alive: dict[str, Check], ready: dict[str, Check], metrics: Callable[[], bytes] | None
    ) -> None:
        self._checks = {"/health": Checks(alive), "/health/ready": Checks({**alive, **ready})}
        self._metrics = metrics
        self._server = _Server((host, port), _Handler)
        self._server.page = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="status-page", daemon=True)

    @property
    def port(self) -> int:
        """The port in use."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Closes the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        path = path.partition("?")[0].removeprefix("/api/v1")
        if path in self._checks:
            return _verdict(self._checks[path])
        if path == "/metrics" and self._metrics is not None:
            return 200, CONTENT_TYPE_LATEST, self._metrics()
        return 404, "application/json", b'{"detail": "there are /health, /health/ready and /metrics"}'


def _verdict(checks: Checks) -> tuple[int, str, bytes]:
    found = checks.outcome()
    is_good = all(said == "ok" for said in found.values())
    body = {"status": "ok" if is_good else "failed", "checks": found}
    return (200 if is_good else 503), "application/json", json.dumps(body).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    page: StatusPage
    allow_reuse_address = os.name == "posix"  # on Windows it would let a second process take the same port in silence


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10
    server_version = "messagebroker"
    sys_version = ""

    def do_GET(self) -> None:
        status, content_type, body = self.server.page.answer(self.path)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Health checks are no news."""
