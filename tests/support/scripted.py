"""An HTTPS server that answers what a test told it to, in order, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

DROP = "drop"  # read the request, then close without an answer


@dataclass
class Answer:
    status: int = 200
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    peer: str | None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def problem(status: int, name: str, detail: str = "no", **headers: str) -> Answer:
    document = {"type": f"urn:messagebroker:problem:{name}", "title": name, "status": status, "detail": detail}
    return Answer(status, document, {"Content-Type": "application/problem+json", **headers})


class Scripted:
    """The last answer is repeated when the script is over; a function makes its answer from what was asked."""

    def __init__(self, certs: Path, *script: Answer | str | Callable[[Asked], Answer], role: str = "proxy") -> None:
        self.script: list[Any] = list(script)
        self.asked: list[Asked] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                shown = self.connection.getpeercert()  # type: ignore[attr-defined]
                peer = next((name for kind, name in (shown or {}).get("subjectAltName", ()) if kind == "URI"), None)
                headers = {name.lower(): value for name, value in self.headers.items()}
                owner.asked.append(Asked(self.command, self.path, headers, body, peer))
                answer = owner.script.pop(0) if len(owner.script) > 1 else owner.script[0]
                if callable(answer):
                    answer = answer(owner.asked[-1])
                if isinstance(answer, str):
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                content = answer.raw if answer.raw is not None else json.dumps(answer.document).encode()
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _serve

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # clients that do not trust us, or that we dropped

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certs / f"{role}.crt", certs / f"{role}.key")
        context.load_verify_locations(certs / "ca.crt")
        context.verify_mode = ssl.CERT_OPTIONAL
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
