"""Main's application behind a real server, with pulls that wait."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

from support.cast import Cast
from support.certs import Authority, Issued
from support.serving import Answer, Connection, Serving, eventually

from messagebroker.http.main import app as main_app
from messagebroker.http.main.pull_watch import PullWatch
from messagebroker.http.main.waiting import Waiting
from messagebroker.ops.redis_client import connect

PULL = "/api/v1/pull"


class Main:
    """Main's application behind a real server, with those who wait looked after."""

    def __init__(self, cast: Cast, stack: ExitStack, authority: Authority, *, threads: int = 4, most: int = 1000) -> None:
        self.room = Waiting(most)
        app: Any = main_app.make(cast.settings, watcher=cast.watcher, redis=connect(cast.settings), waiting=self.room)
        self.serving = stack.enter_context(
            Serving(cast.settings.data_dir, app, authority=authority, threads=threads, max_connections_per_address=1000)
        )
        self.watch = PullWatch(self.room, threads, self.serving.stop)
        self.watch.start()
        stack.callback(self.watch.stop)
        self._stack = stack
        self._authority = authority

    def client(self, name: str) -> Issued:
        return self._authority.client(name)

    def waiting(self, number: int, shown: Issued, seconds: float = 10) -> Connection:
        """A pull that waits, sent; its answer is to come."""
        connection = self._stack.enter_context(self.serving.connect(shown, timeout=20))
        before = self.room.number(number)
        connection.send(pull_of(number, seconds))
        assert eventually(lambda: self.room.number(number) == before + 1)
        return connection


def pull_of(number: int, seconds: float, most: int = 10) -> bytes:
    body = json.dumps({"wait_seconds": seconds, "max": most}).encode()
    head = f"POST {PULL}/{number} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


def bodies(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [item["body"] for item in answer.json()["items"]]
