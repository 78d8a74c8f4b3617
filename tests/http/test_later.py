"""Requests that are answered later, by another thread, over real TLS."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.certs import Issued
from support.serving import Serving, eventually, request

from messagebroker.http.later import DEFER, Deferred

pytestmark = pytest.mark.clocked

Serve = Callable[..., Serving]


def reply(text: str) -> tuple[str, list[tuple[str, str]], bytes]:
    return "202 Accepted", [("Content-Type", "text/plain")], text.encode()


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """`/later/SECONDS`, `/now` (through Later, before it leaves), `/large`, anything else: not deferred."""
    path = environ["PATH_INFO"]
    if path.startswith("/later/"):
        later = environ[DEFER]()
        timer = threading.Timer(float(path.removeprefix("/later/")), lambda: later.answer(reply(path)))
        timer.daemon = True
        timer.start()
        raise Deferred
    if path in ("/now", "/large"):
        environ[DEFER]().answer(reply(path if path == "/now" else "x" * 3_000_000))
        raise Deferred
    start_response("200 OK", [("Content-Length", "4")])
    return [b"here"]


def test_an_answer_that_comes_later(serve: Serve, acme: Issued) -> None:
    with serve(app).connect(acme) as connection:
        for path in ("/later/0.05", "/now", "/", "/later/0"):
            answer = connection.ask(path)
            assert (answer.status, answer.body.decode()) == ((200, "here") if path == "/" else (202, path))


def test_requests_sent_in_one_go_are_answered_in_order(serve: Serve, acme: Issued) -> None:
    paths = ["/later/0.2", "/now", "/later/0.05", "/", "/later/0"]
    with serve(app).connect(acme) as connection:
        connection.send(b"".join(request(path) for path in paths))
        assert [connection.answer().body.decode() for _ in paths] == [path if path != "/" else "here" for path in paths]


def test_waiting_takes_no_threads(serve: Serve, acme: Issued) -> None:
    server = serve(app, threads=1)
    connections = [server.connect(acme) for _ in range(12)]
    began = time.monotonic()
    for connection in connections:
        connection.send(request("/later/0.4"))
    assert [connection.answer().status for connection in connections] == [202] * 12
    assert time.monotonic() - began < 1.5
    for connection in connections:
        connection.sock.close()


def test_a_peer_that_left_is_no_trouble(serve: Serve, acme: Issued) -> None:
    server = serve(app, threads=1)
    for _ in range(3):
        with server.connect(acme) as connection:
            connection.send(request("/later/0.1"))
    time.sleep(0.25)
    assert server.ask(acme, path="/now").status == 202
    assert eventually(lambda: not server.server.channels)


def test_a_stop_waits_for_what_is_promised(serve: Serve, acme: Issued) -> None:
    server = serve(app)
    with server.connect(acme) as connection:
        connection.send(request("/later/0.5"))
        time.sleep(0.1)
        assert 0.2 < server.halt() < 5
        answer = connection.answer()
        assert (answer.status, answer.closes) == (202, True)


def test_a_large_answer_to_a_peer_that_reads_slowly(serve: Serve, acme: Issued) -> None:
    server = serve(app, threads=2)
    with server.connect(acme) as slow, server.connect(acme) as other:
        slow.send(request("/large") * 2)
        time.sleep(0.1)
        assert other.ask("/now").status == 202
        assert [len(slow.answer().body) for _ in range(2)] == [3_000_000] * 2


def test_http_1_0_ends_with_its_answer(serve: Serve, acme: Issued) -> None:
    with serve(app).connect(acme) as connection:
        connection.send(b"GET /later/0.05 HTTP/1.0\r\n\r\n")
        assert connection.answer().status == 202
        assert connection.ends()


def test_a_peer_that_leaves_is_seen_to(serve: Serve, acme: Issued) -> None:
    """While nobody reads, a connection's end is nobody's news; what waits for long asks for it."""
    waiting: list[Any] = []

    def patient(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        later = environ[DEFER]()
        later.watch()
        waiting.append(later)
        raise Deferred

    server = serve(patient, threads=1)
    with server.connect(acme) as connection:
        connection.send(request("/"))
        assert eventually(lambda: len(waiting) == 1)
        time.sleep(0.05)
        assert waiting[0].is_there
        connection.send(request("/second"))
        waiting[0].answer(reply("first"))
        assert connection.answer().body == b"first"
        assert eventually(lambda: len(waiting) == 2), "what was read ahead is served in its turn"
        assert waiting[1].is_there
    assert eventually(lambda: not waiting[1].is_there)
    waiting[1].answer(reply("to nobody"))
    assert eventually(lambda: not server.server.channels)


def test_what_is_read_ahead_is_little(serve: Serve, acme: Issued) -> None:
    waiting: list[Any] = []

    def patient(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        length = len(environ["wsgi.input"].read())
        later = environ[DEFER]()
        later.watch()
        waiting.append((later, length))
        raise Deferred

    server = serve(patient, threads=1)
    with server.connect(acme) as connection:
        connection.send(request("/"))
        assert eventually(lambda: len(waiting) == 1)
        body = b"x" * 4_000_000
        sender = threading.Thread(target=connection.send, args=(request("/large", body),))
        sender.start()
        time.sleep(0.3)
        [channel] = server.server.channels.values()
        assert channel.held() < 600_000
        waiting[0][0].answer(reply("first"))
        assert connection.answer().body == b"first"
        assert eventually(lambda: len(waiting) == 2)
        sender.join()
        assert waiting[1][1] == len(body)
        waiting[1][0].answer(reply("second"))
        assert connection.answer().body == b"second"
