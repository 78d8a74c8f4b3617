"""A receiver of webhooks: a real server on a socket of this machine that can misbehave.

with Receiver() as receiver:                      # https: Receiver(tls=receiver_context(authority))
    receiver.play(status(503, retry_after="7"), ok())   # one a request; the last one stays
    receiver.at("/dead", hang())                  # for this path alone
    ...                                           # deliver to receiver.url
    first, second = receiver.wait_for(2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert receiver.connections == 1              # it was kept open
"""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from support.certs import Authority

MEGABYTE = 1 << 20
Behaviour = bytes | Callable[["Connection"], Awaitable[None]]
"""The whole answer, or what writes one."""


@dataclass(frozen=True)
class Received:
    """One request. Names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float  # time.monotonic()
    connection: int  # 1 for the first
    certificate: dict[str, Any] | None = field(repr=False)  # the caller's, where it showed one


def ok() -> Behaviour:
    return b"HTTP/1.1 204 No Content\r\n\r\n"


def status(code: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Any answer: `status(503, retry_after="7")`."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {code} Word\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


def redirect(location: str, code: int = 302) -> Behaviour:
    return status(code, location=location)


def garbage() -> Behaviour:
    return b"\x16\x03\x01 this is no HTTP \xff\xfe\r\n\r\n"


def bomb(size: int = 64 * MEGABYTE) -> Behaviour:
    """An answer that is small as long as nobody unpacks it."""
    return status(200, gzip.compress(bytes(size)), content_encoding="gzip")


def hang() -> Behaviour:
    """Takes the request and says nothing, as long as the caller stays."""

    async def behave(connection: Connection) -> None:
        await connection.gone.wait()

    return behave


def slow(seconds: float, answer: Behaviour | None = None) -> Behaviour:
    """Answers late."""

    async def behave(connection: Connection) -> None:
        await asyncio.sleep(seconds)
        await connection.answer(answer or ok())

    return behave


def trickle(pause: float = 0.05, head: bytes = b"HTTP/1.1 200 OK\r\n", piece: bytes = b"x: y\r\n") -> Behaviour:
    """Answers without end, a few bytes at a time. With a whole `head`, it is the body that trickles."""

    async def behave(connection: Connection) -> None:
        connection.write(head)
        while not connection.gone.is_set():
            connection.write(piece)
            await asyncio.sleep(pause)

    return behave


def huge(size: int = 100 * MEGABYTE) -> Behaviour:
    """Answers 200 with as many bytes as the caller takes."""

    async def behave(connection: Connection) -> None:
        connection.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(size // 65_536):
            await connection.room.wait()
            if connection.gone.is_set():
                return
            connection.write(b"x" * 65_536)

    return behave


def cut_short() -> Behaviour:
    """Promises more bytes than it sends, and closes."""

    async def behave(connection: Connection) -> None:
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
        connection.transport.close()

    return behave


def reset() -> Behaviour:
    """Ends the connection with a reset (RST) in place of an answer."""

    async def behave(connection: Connection) -> None:
        raw: socket.socket = connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if os.name == "nt" else "ii", 1, 0))
        connection.transport.abort()

    return behave


def close_after(answer: Behaviour) -> Behaviour:
    """Answers, says nothing of closing, and closes: what meets a caller that keeps connections."""

    async def behave(connection: Connection) -> None:
        await connection.answer(answer)
        connection.transport.close()

    return behave


def receiver_context(authority: Authority, *names: str, asks_for_certificate: bool = False) -> ssl.SSLContext:
    """The TLS side of a receiver: good for localhost, 127.0.0.1, ::1 and `names`."""
    issued = authority.component("receiver", names=names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.crt, issued.key)
    if asks_for_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.crt)
    return context


class Receiver:
    """Runs between `with` and its end, in a thread. Without orders it answers 204."""

    def __init__(
        self, *behaviours: Behaviour, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.requests: list[Received] = []
        self.connections = 0  # ever accepted
        self.open: set[Connection] = set()
        self._orders: deque[Behaviour] = deque(behaviours or (ok(),))
        self._paths: dict[str, Behaviour] = {}
        self._tls = tls
        self._listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self._arrived = threading.Condition()
        self._started = threading.Event()
        self._stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="receiver", daemon=True)

    @property
    def url(self) -> str:
        """By address; with TLS by the name `localhost`."""
        host = "localhost" if self._tls else f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}/hook"

    def play(self, *behaviours: Behaviour) -> None:
        """One a request from now on; the last one stays."""
        self._orders = deque(behaviours)

    def at(self, path: str, behaviour: Behaviour) -> None:
        """For requests of this path (without a query), always."""
        self._paths[path] = behaviour

    def wait_for(self, count: int, seconds: float = 5.0) -> list[Received]:
        """All requests, once there are `count` of them."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= count, seconds), (
                f"{len(self.requests)} of {count} requests came in {seconds} s"
            )
            return list(self.requests)

    def wait_for_silence(self, seconds: float = 5.0) -> None:
        """Until nobody is connected any more."""
        end = time.monotonic() + seconds
        while self.open:
            assert time.monotonic() < end, f"{len(self.open)} connections are still open after {seconds} s"
            time.sleep(0.005)

    def arrived(self, request: Received) -> Behaviour:
        """Called in the receiver's loop."""
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        special = self._paths.get(request.path.partition("?")[0])
        return special or (self._orders.popleft() if len(self._orders) > 1 else self._orders[0])

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(5), "the receiver did not start"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        assert not self._thread.is_alive(), "the receiver did not stop"

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(lambda: Connection(self), sock=self._listener, ssl=self._tls)
        self._started.set()
        await self._stop.wait()
        server.close()
        for connection in list(self.open):
            connection.transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Connection(asyncio.Protocol):
    """One caller: requests come one after another, each answered by what the receiver was told."""

    transport: Any

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._number = 0
        self.gone = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._receiver.connections += 1
        self._number = self._receiver.connections
        self._receiver.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.open.discard(self)
        self.gone.set()
        self.room.set()

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def write(self, data: bytes) -> None:
        if not self.gone.is_set():
            self.transport.write(data)

    async def answer(self, behaviour: Behaviour) -> None:
        if isinstance(behaviour, bytes):
            self.write(behaviour)
        else:
            await behaviour(self)

    def _next(self) -> None:
        while self._task is None and (request := self._parsed()):
            behaviour = self._receiver.arrived(request)
            if isinstance(behaviour, bytes):
                self.write(behaviour)
            else:
                self._task = asyncio.ensure_future(behaviour(self))
                self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled():
            task.result()
            self._next()

    def _parsed(self) -> Received | None:
        """The next whole request of the buffer. Bodies have a length: nobody here sends them in chunks."""
        head, end, _ = bytes(self._buffer).partition(b"\r\n\r\n")
        if not end:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = len(head) + 4 + int(headers.get("content-length", "0"))
        if len(self._buffer) < size:
            return None
        body = bytes(self._buffer[len(head) + 4 : size])
        del self._buffer[:size]
        method, path, _ = first.split(" ")
        certificate = self.transport.get_extra_info("peercert") or None
        return Received(method, path, headers, body, time.monotonic(), self._number, certificate)
