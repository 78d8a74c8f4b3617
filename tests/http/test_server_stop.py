"""Stopping, and the loop on systems without epoll."""

from __future__ import annotations

import http.client
import logging
import random
import selectors
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from support.certs import Issued
from support.serving import Connection, Serving, eventually, request, who

from messagebroker.ops import metrics

Serve = Callable[..., Serving]


class Slow:
    """An app that waits until it is told to go on."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.began.set()
        self.go_on.wait(10)
        return who(environ, start_response)


def test_a_stop_cuts_no_request(serve: Serve, acme: Issued) -> None:
    slow = Slow()
    server = serve(slow)
    with server.connect(acme) as busy, server.connect(acme) as half, server.connect(acme) as idle, server.raw() as silent:
        busy.send(request("/busy"))
        assert slow.began.wait(5)
        half.send(request("/half", b"0123456789")[:-5])
        time.sleep(0.1)
        server.stop.set()
        assert idle.ends()
        assert silent.recv(1) == b""
        with pytest.raises(ConnectionError):
            server.raw()
        assert server.thread.is_alive()
        half.send(b"56789")
        slow.go_on.set()
        for connection, path in ((busy, "/busy"), (half, "/half")):
            answer = connection.answer()
            assert (answer.json()["path"], answer.closes) == (path, True)
    assert server.halt() < 2


class Chatty:
    """A sender that keeps its connection and its pace until nobody listens any more."""

    def __init__(self, server: Serving, shown: Issued) -> None:
        self.server = server
        self.context = server.context(shown)
        self.answered = 0
        self.lost: list[str] = []

    def talk(self) -> None:
        with suppress(OSError):  # refused, sooner or later: no request had been sent
            while True:
                with self.server.connect(context=self.context) as connection:
                    self._use(connection)

    def _use(self, connection: Connection) -> None:
        while True:
            time.sleep(random.uniform(0, 0.01))
            try:
                answer = connection.ask("/", b"x" * 100)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                raise ConnectionError from error
            self.answered += 1
            if answer.closes:
                return


@pytest.mark.parametrize("turn", range(4))
def test_no_request_of_a_kept_connection_goes_without_an_answer(serve: Serve, acme: Issued, turn: int) -> None:
    server = serve()
    senders = [Chatty(server, acme) for _ in range(12)]
    threads = [threading.Thread(target=sender.talk) for sender in senders]
    for thread in threads:
        thread.start()
    assert eventually(lambda: all(sender.answered > 3 for sender in senders), 10)
    time.sleep(turn / 100)
    assert server.halt() < 3
    for thread in threads:
        thread.join(5)
    assert [lost for sender in senders for lost in sender.lost] == []


def test_the_grace_is_no_longer_than_the_stop(serve: Serve, acme: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("messagebroker.http.farewell.BY_NAME", {})
    monkeypatch.setattr("messagebroker.http.farewell.DEFAULT_STOP_SECONDS", 3.2)
    server = serve()
    with server.connect(acme) as idle:
        idle.ask()
        assert server.halt() < 0.8
        assert idle.ends()


def test_a_request_that_takes_too_long_is_cut_in_the_end(
    serve: Serve, acme: Issued, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messagebroker.http.farewell.BY_NAME", {})
    monkeypatch.setattr("messagebroker.http.farewell.DEFAULT_STOP_SECONDS", 3.3)
    slow = Slow()
    server = serve(slow)
    with server.connect(acme) as busy:
        busy.send(request())
        assert slow.began.wait(5)
        with caplog.at_level(logging.WARNING, "messagebroker.http.server"):
            assert 0.2 < server.halt() < 3
        assert "1 requests unanswered" in caplog.text
        assert busy.ends()
    slow.go_on.set()


def test_stopping_without_anybody_is_quick(serve: Serve) -> None:
    assert serve().halt() < 0.5


def connections() -> float:
    return metrics.REGISTRY.get_sample_value("messagebroker_connections") or 0.0


def test_nothing_is_left_open(serve: Serve, acme: Issued) -> None:
    before, threads = connections(), threading.active_count()
    server = serve()
    with server.connect(acme) as connection:
        connection.ask()
        assert connections() == before + 1
        server.halt()
    assert connections() == before
    assert threading.active_count() == threads


@pytest.mark.parametrize("selector", [selectors.SelectSelector, getattr(selectors, "PollSelector", selectors.SelectSelector)])
def test_the_loop_works_with_other_selectors(serve: Serve, acme: Issued, selector: Callable[[], Any]) -> None:
    """Windows has select only."""
    server = serve(selector=selector())

    def talk(number: int) -> list[str]:
        with server.connect(acme) as connection:
            return [connection.ask(f"/{number}/{n}", b"x" * 50_000).json()["path"] for n in range(10)]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(talk, range(8))) == [[f"/{number}/{n}" for n in range(10)] for number in range(8)]


def test_handshakes_take_turns(serve: Serve, acme: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("messagebroker.http.server.HANDSHAKES_AT_ONCE", 1)
    server = serve()
    with ThreadPoolExecutor(20) as pool:
        assert [answer.status for answer in pool.map(lambda _: server.ask(acme), range(40))] == [200] * 40


def test_several_requests_run_at_once(serve: Serve, acme: Issued) -> None:
    meeting = threading.Barrier(4, timeout=5)

    def together(environ: dict[str, Any], start_response: Any) -> Any:
        meeting.wait()
        return who(environ, start_response)

    server = serve(together, threads=4)
    with ThreadPoolExecutor(4) as pool:
        assert [answer.status for answer in pool.map(lambda _: server.ask(acme), range(4))] == [200] * 4
