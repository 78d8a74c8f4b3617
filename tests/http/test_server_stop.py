"""Stopping, and the loop on systems without epoll."""

from __future__ import annotations

import logging
import selectors
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.certs import Issued
from support.serving import Serving, request, who

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
        assert idle.ends()  # at once
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


def test_a_request_that_takes_too_long_is_cut_in_the_end(
    serve: Serve, acme: Issued, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messagebroker.http.server.BY_NAME", {})
    monkeypatch.setattr("messagebroker.http.server.DEFAULT_STOP_SECONDS", 3.3)
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
