"""500 clients that wait in a pull, and how long main takes to answer others meanwhile."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time

from support.installation import ClientFiles, Installation
from support.subscribing import subscribe

from bench.load import head
from messagebroker.client import ApiClient, Caller
from messagebroker.ops import users
from messagebroker.ops.audit import Actor

CLIENTS, WAITS_OF_EACH = 50, 10
RATE, SECONDS = 50, 20
PASSWORD = "carrots under a tin roof 7"  # nosec B105


def measure(it: Installation) -> dict[str, float]:
    """p50 and p99 of main's answers to a person, without and with all the waiting pulls."""
    users.create("pulls@example.org", "operator", password=PASSWORD, actor=Actor(name="cli:bench"))
    pulls = [(it.client(f"puller-{number}"), 0) for number in range(CLIENTS)]
    pulls = [(files, subscribe(["pulled"], channel="pull", client=files.name)) for files, _ in pulls]
    with ApiClient(it.url("main"), ca=pulls[0][0].ca) as api:
        caller = Caller(token=api.login("pulls@example.org", PASSWORD).access_token)
        found = _times(api, caller, "alone")
        crowd = _Crowd(int(it.url("main").rsplit(":", 1)[1]), pulls)
        crowd.start()
        try:
            found |= _times(api, caller, "with_500_waiting") | {"waiting": crowd.wait_until_all_wait()}
            found |= _times(api, caller, "with_500_waiting")
        finally:
            crowd.stop()
    return found


def _times(api: ApiClient, caller: Caller, name: str) -> dict[str, float]:
    times = []
    for _ in range(RATE * SECONDS):
        began = time.perf_counter()
        api.me(caller)
        times.append(time.perf_counter() - began)
        time.sleep(max(0.0, 1 / RATE - times[-1]))
    times.sort()
    return {f"{name}_p50_ms": times[len(times) // 2] * 1000, f"{name}_p99_ms": times[int(len(times) * 0.99)] * 1000}


class _Crowd:
    """Connections that each wait in a pull, and again when it was answered."""

    def __init__(self, port: int, pulls: list[tuple[ClientFiles, int]]) -> None:
        self._port, self._pulls = port, pulls
        self._waiting = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result(120)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._tasks])
        time.sleep(0.5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def wait_until_all_wait(self) -> int:
        deadline = time.monotonic() + 60
        while self._waiting < len(self._tasks) and time.monotonic() < deadline:
            time.sleep(0.1)
        return self._waiting

    async def _begin(self) -> None:
        for files, subscription in self._pulls:
            context = files.context()
            for _ in range(WAITS_OF_EACH):
                streams = await asyncio.open_connection("127.0.0.1", self._port, ssl=context, server_hostname="localhost")
                self._tasks.append(asyncio.create_task(self._wait(*streams, subscription)))

    async def _wait(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, subscription: int) -> None:
        body = json.dumps({"wait_seconds": 30}).encode()
        request = head(f"/api/v1/pull/{subscription}", len(body), "application/json", None) + body
        while True:
            writer.write(request)
            self._waiting += 1
            try:
                answer = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ssl.SSLError) as error:
                raise SystemExit(f"a pull was cut off: {error}") from error
            finally:
                self._waiting -= 1
            if b" 200 " not in answer.partition(b"\r\n")[0]:
                raise SystemExit(f"a pull was refused: {answer!r}")
            at = answer.lower().index(b"content-length:") + 15
            await reader.readexactly(int(answer[at:].partition(b"\r\n")[0]))
