"""The receiver of `bench.delivery`: a process of its own that takes webhooks and writes down when.

    python -m bench.receiver PORT OUT

`/ok/…` is answered with 204, `/hang/…` never. A body that carries `sent:NANOSECONDS.` gives a latency. SIGTERM, or the end of
its standard input, has it write OUT, a JSON list of [seconds of the arrival, kind, latency in ms or null].
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

_SENT = b"sent:"
_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"

arrivals: list[tuple[float, str, float | None]] = []


class Connection(asyncio.Protocol):
    """One kept-alive connection."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.index(b"content-length:") + 15
            total = end + 4 + int(head[at : (head + b"\r\n").index(b"\r\n", at)])
            if len(self._buffer) < total:
                return
            self._take(head, self._buffer[end + 4 : total])
            self._buffer = self._buffer[total:]

    def _take(self, head: bytes, body: bytes) -> None:
        hangs = head.startswith(b"post /hang/")
        at = body.find(_SENT)
        latency = None
        if at >= 0:
            sent = body[at + len(_SENT) :].partition(b".")[0]
            latency = (time.time_ns() - int(sent)) / 1e6
        arrivals.append((time.time(), "hang" if hangs else "ok", latency))
        if not hangs:
            self.transport.write(_ANSWER)


async def main(port: int, out: Path) -> None:
    """Serves until told to stop."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=2048)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()
    out.write_text(json.dumps(arrivals), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
