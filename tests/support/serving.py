"""A server of ours in a thread, and raw connections to it that can misbehave."""

from __future__ import annotations

import dataclasses
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.certs import Authority, Issued

from messagebroker.http.limits import Limits
from messagebroker.http.server import Server
from messagebroker.settings import Settings, load

App = Callable[[dict[str, Any], Any], Iterable[bytes]]


def who(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Says what arrived: the peer, the path, and how long the body was."""
    peer = environ["messagebroker.peer"]
    document = {
        "peer": f"{peer.kind}:{peer.name}" if peer else None,
        "serial": peer.serial if peer else None,
        "problem": environ["messagebroker.peer_problem"],
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"],
        "length": len(environ["wsgi.input"].read()),
        "address": environ["REMOTE_ADDR"],
        "scheme": environ["wsgi.url_scheme"],
    }
    body = json.dumps(document).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


@dataclass
class Answer:
    """One parsed answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"


class Connection:
    """A TLS connection that sends whatever bytes a test wants."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def send(self, data: bytes) -> Self:
        self.sock.sendall(data)
        return self

    def answer(self, method: str = "GET") -> Answer:
        with closing(_Unbuffered(self.sock)) as source:
            response = http.client.HTTPResponse(source, method=method)  # type: ignore[arg-type]
            response.begin()
            body = response.read()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, body)

    def ask(self, path: str = "/", body: bytes = b"", method: str = "POST", headers: str = "") -> Answer:
        self.send(request(path, body, method, headers))
        return self.answer(method)

    def ends(self) -> bool:
        """True when the server closes without a further answer."""
        try:
            return self.sock.recv(1) == b""
        except (ConnectionError, ssl.SSLError):
            return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.sock.close()


class _Unbuffered:
    """A socket for HTTPResponse that reads no further than the answer, so that the next one stays whole."""

    def __init__(self, sock: socket.socket) -> None:
        self._file = sock.makefile("rb", buffering=0)
        self.close = self._file.close
        self.flush = self._file.flush
        self.closed = False

    def makefile(self, mode: str) -> Self:
        return self

    def readline(self, limit: int = -1) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n") and (piece := self._file.read(1)):
            line += piece
        return bytes(line)

    def read(self, amount: int = -1) -> bytes:
        found = bytearray()
        while amount < 0 or len(found) < amount:
            piece = self._file.read(65536 if amount < 0 else amount - len(found))
            if not piece:
                break
            found += piece
        return bytes(found)


def request(path: str = "/", body: bytes = b"", method: str = "POST", headers: str = "") -> bytes:
    """The bytes of a request."""
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


class Serving:
    """A running server with a CA of its own; `fast` overrides single limits."""

    def __init__(
        self,
        folder: Path,
        app: App = who,
        *,
        authority: Authority,
        threads: int = 4,
        settings: dict[str, Any] | None = None,
        selector: Any = None,
        **limits: Any,
    ) -> None:
        self.authority = authority
        self.settings: Settings = load({}, data_dir=folder, certs_dir=authority.folder, environment="test", **(settings or {}))
        numbers = dataclasses.replace(Limits.of(self.settings, room=2000), **limits)
        self.server = Server(
            app, host="127.0.0.1", port=0, role="proxy", settings=self.settings, threads=threads, limits=numbers,
            selector=selector,
        )  # fmt: skip
        self.port = self.server.port
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.server.run, args=(self.stop,))

    def context(self, shown: Issued | None = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.folder / "ca.crt"))
        if shown:
            context.load_cert_chain(*shown.both)
        if version:
            context.minimum_version = context.maximum_version = version
        return context

    def raw(self, source: str = "127.0.0.1", timeout: float = 10) -> socket.socket:
        """A TCP connection that says nothing yet."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout, source_address=(source, 0))

    def connect(
        self,
        shown: Issued | None = None,
        version: ssl.TLSVersion | None = None,
        *,
        context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
        source: str = "127.0.0.1",
        timeout: float = 10,
    ) -> Connection:
        raw = self.raw(source, timeout)
        try:
            context = context or self.context(shown, version)
            return Connection(context.wrap_socket(raw, server_hostname="localhost", session=session))
        except BaseException:
            raw.close()
            raise

    def ask(self, shown: Issued | None = None, **options: Any) -> Answer:
        """One request on a connection of its own."""
        with self.connect(shown) as connection:
            return connection.ask(**options)

    def halt(self, seconds: float = 20) -> float:
        """Stops the server; how long that took."""
        began = time.monotonic()
        self.stop.set()
        self.server.wake()
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "the server did not stop"
        return time.monotonic() - began

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.halt()


def eventually(check: Callable[[], bool], seconds: float = 5) -> bool:
    """True as soon as the check is, False when it never was."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def read_all(sock: socket.socket) -> bytes:
    """Everything until the end of the connection."""
    found = bytearray()
    with closing(sock):
        while piece := sock.recv(65536):
            found += piece
    return bytes(found)
