"""The load generator for batches: a process of its own that POSTs the same body over kept-alive mTLS connections.

    python -m bench.load HOST PORT CERT KEY CA BODY-FILE PATH CONNECTIONS REQUESTS [KEYS]

Prints one JSON line: requests, seconds from the first byte sent to the last answer, the answers' seconds, statuses.
Raw sockets instead of an HTTP library, so that as little as possible of the two cores goes to the generator.
"""

from __future__ import annotations

import collections
import itertools
import json
import socket
import ssl
import sys
import threading
import time
from pathlib import Path


class Connection:
    """One kept-alive connection."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        raw = socket.create_connection((host, port), timeout=60)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(raw, server_hostname="localhost")
        self.rest = b""

    def post(self, request: bytes) -> int:
        """Sends the request, reads the whole answer, returns its status."""
        self.socket.sendall(request)
        data = self.rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head = data[:end].lower()
        at = head.index(b"content-length:") + 15
        length = int(head[at : (head + b"\r\n").index(b"\r\n", at)])
        total = end + 4 + length
        while len(data) < total:
            data += self._more()
        self.rest = data[total:]
        return int(data[9:12])

    def _more(self) -> bytes:
        chunk = self.socket.recv(262_144)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        return chunk


def head(path: str, length: int, content_type: str, key: str | None) -> bytes:
    """A request's head."""
    extra = f"Idempotency-Key: {key}\r\n" if key else ""
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{extra}\r\n"
    ).encode()


def drive(
    host: str, port: int, files: tuple[str, str, str], body: bytes, path: str, connections: int, requests: int, keys: str
) -> dict[str, object]:
    """POSTs `requests` times over `connections` connections; `keys`, when not empty, begins each Idempotency-Key."""
    certificate, key, ca = files
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate, key)
    tickets = itertools.count()
    seconds: list[float] = []
    statuses: collections.Counter[int] = collections.Counter()
    opened = [Connection(host, port, context) for _ in range(connections)]
    go = threading.Event()

    def work(connection: Connection) -> None:
        go.wait()
        while (ticket := next(tickets)) < requests:
            start = time.perf_counter()
            request = head(path, len(body), "application/json", f"{keys}-{ticket}" if keys else None) + body
            statuses[connection.post(request)] += 1
            seconds.append(time.perf_counter() - start)

    threads = [threading.Thread(target=work, args=(connection,)) for connection in opened]
    for thread in threads:
        thread.start()
    started = time.time()
    go.set()
    for thread in threads:
        thread.join()
    return {"started": started, "ended": time.time(), "seconds": seconds, "statuses": dict(statuses)}


if __name__ == "__main__":
    host, port, certificate, key, ca, body_file, path, connections, requests, *keys = sys.argv[1:]
    result = drive(
        host,
        int(port),
        (certificate, key, ca),
        Path(body_file).read_bytes(),
        path,
        int(connections),
        int(requests),
        "".join(keys),
    )
    print(json.dumps(result))
