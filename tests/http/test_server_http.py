"""HTTP over the TLS server: framing, order, answers of every kind."""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.certs import Issued
from support.serving import Serving, eventually, request

Serve = Callable[..., Serving]


def replying(status: str, *pieces: bytes, length: bool = True) -> Callable[[dict[str, Any], Any], list[bytes]]:
    """An app with one answer."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        start_response(status, [("Content-Length", str(sum(map(len, pieces))))] if length else [])
        return list(pieces)

    return app


def test_many_requests_on_one_connection(serve: Serve, acme: Issued) -> None:
    with serve().connect(acme) as connection:
        for number in range(50):
            answer = connection.ask(f"/{number}", b"x" * number)
            assert (answer.json()["path"], answer.json()["length"]) == (f"/{number}", number)
            assert not answer.closes


def test_pipelined_requests_are_answered_in_order(serve: Serve, acme: Issued) -> None:
    with serve().connect(acme) as connection:
        connection.send(b"".join(request(f"/{n}", b"b" * n) for n in range(30)) + request("/last", b"12345")[:-3])
        for number in range(30):
            assert connection.answer().json()["path"] == f"/{number}"
        connection.send(b"345")
        assert connection.answer().json()["length"] == 5


def test_requests_that_arrive_while_one_runs_wait_for_their_turn(serve: Serve, acme: Issued) -> None:
    go = threading.Event()

    def slow_first(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/0":
            go.wait(5)
        return replying("200 OK", environ["PATH_INFO"].encode())(environ, start_response)

    with serve(slow_first).connect(acme) as connection:
        connection.send(request("/0"))
        time.sleep(0.1)
        connection.send(request("/1"))
        time.sleep(0.1)
        connection.send(request("/2"))
        go.set()
        assert [connection.answer().body for _ in range(3)] == [b"/0", b"/1", b"/2"]


def test_a_request_in_many_small_pieces(serve: Serve, acme: Issued) -> None:
    with serve().connect(acme) as connection:
        for byte in request("/slow", b"body"):
            connection.send(bytes([byte]))
        assert connection.answer().json()["length"] == 4


@pytest.mark.parametrize("size", [1, 16_384, 300_000, 8 * 1024 * 1024])
def test_bodies_of_all_sizes_arrive_whole(serve: Serve, acme: Issued, size: int) -> None:
    body = os.urandom(size)

    def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        return replying("200 OK", environ["wsgi.input"].read())(environ, start_response)

    server = serve(echo)
    with httpx.Client(verify=server.context(acme), base_url=f"https://localhost:{server.port}") as client:
        assert client.post("/", content=body).content == body

        def pieces() -> Iterator[bytes]:  # chunked
            for start in range(0, size, 70_000):
                yield body[start : start + 70_000]

        assert client.post("/", content=pieces()).content == body


@pytest.mark.parametrize(
    ("status", "pieces", "length"),
    [("204 No Content", (), False), ("304 Not Modified", (), False), ("200 OK", (b"a", b"b"), False), ("200 OK", (b"",), True)],
)
def test_answers_without_a_length_keep_the_connection(
    serve: Serve, acme: Issued, status: str, pieces: tuple[bytes, ...], length: bool
) -> None:
    with serve(replying(status, *pieces, length=length)).connect(acme) as connection:
        for _ in range(3):
            answer = connection.ask()
            assert answer.body == b"".join(pieces)
            assert not answer.closes


def test_head_gets_the_header_of_get_and_no_body(serve: Serve, acme: Issued) -> None:
    with serve(replying("200 OK", b"12345")).connect(acme) as connection:
        for _ in range(2):
            answer = connection.ask(method="HEAD")
            assert (answer.headers["content-length"], answer.body) == ("5", b"")


def test_http_1_0_closes_unless_asked_not_to(serve: Serve, acme: Issued) -> None:
    server = serve()
    with server.connect(acme) as connection:
        answer = connection.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").answer()
        assert answer.headers["connection"] == "keep-alive"
        connection.send(b"GET /b HTTP/1.0\r\n\r\n")
        assert connection.answer().json()["path"] == "/b"
        assert connection.ends()


def test_connection_close_is_honoured(serve: Serve, acme: Issued) -> None:
    with serve().connect(acme) as connection:
        connection.send(request("/a", headers="Connection: close\r\n") + request("/b"))
        assert connection.answer().closes
        assert connection.ends()


def test_the_application_can_end_the_connection(serve: Serve, acme: Issued) -> None:
    def ending(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["messagebroker.close"]()
        return replying("403 Forbidden", b"revoked")(environ, start_response)

    with serve(ending).connect(acme) as connection:
        answer = connection.ask()
        assert (answer.status, answer.body, answer.closes) == (403, b"revoked", True)
        assert connection.ends()


@pytest.mark.parametrize("error", [ValueError("secret detail"), FileNotFoundError("secret detail")])
def test_an_application_that_fails_is_a_500_problem(
    serve: Serve, acme: Issued, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def failing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise error

    with serve(failing).connect(acme) as connection, caplog.at_level(logging.ERROR):
        answer = connection.ask()
    assert answer.status == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:messagebroker:problem:internal-error"
    assert b"secret" not in answer.body
    assert "secret detail" in caplog.text


def test_a_large_answer_to_a_slow_reader(serve: Serve, acme: Issued) -> None:
    pieces = [bytes([number]) * 500_000 for number in range(20)]
    server = serve(replying("200 OK", *pieces))
    with server.connect(acme) as connection:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.send(request())
        time.sleep(0.3)
        waiting = max(channel.secure.unsent for channel in server.server.channels.values())
        assert 0 < waiting < 2_000_000  # the rest is not in memory twice
        assert server.ask(acme).status == 200  # others are served meanwhile
        assert connection.answer().body == b"".join(pieces)
        assert connection.ask().status == 200


def test_a_file_leaves_through_the_file_wrapper(serve: Serve, acme: Issued, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(700_000))
    opened = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        opened.append(path.open("rb"))
        return environ["wsgi.file_wrapper"](opened[-1])

    with serve(app).connect(acme) as connection:
        assert connection.ask(method="GET").body == path.read_bytes()
        assert eventually(lambda: opened[0].closed)
        assert connection.ask(method="GET").status == 200


def test_a_client_that_goes_in_the_middle_of_an_answer_leaves_nothing_behind(
    serve: Serve, acme: Issued, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()

    def endless(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        try:
            start_response("200 OK", [])
            while True:
                yield b"x" * 100_000
        finally:
            ended.set()

    server = serve(endless, threads=1)
    with caplog.at_level(logging.WARNING):
        with server.connect(acme) as connection:
            connection.send(request(method="GET"))
            connection.sock.recv(1000)
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        assert ended.wait(5), "the application still runs"
        assert eventually(lambda: not server.server.channels)
    assert not caplog.records


def test_a_client_that_sends_and_closes_its_side_still_gets_its_answer(serve: Serve, acme: Issued) -> None:
    with serve().connect(acme) as connection:
        connection.send(request("/a"))
        socket.socket.shutdown(connection.sock, socket.SHUT_WR)
        assert connection.answer().json()["path"] == "/a"


SMUGGLED = {
    "two lengths": "Content-Length: 5\r\n",
    "the same length twice": "Content-Length: 0\r\n",
    "a length and chunks": "Transfer-Encoding: chunked\r\n",
    "two hosts": "Host: other\r\n",
    "a folded line": "X-A: b\r\n Transfer-Encoding: chunked\r\n",
    "a space before the colon": "Transfer-Encoding : chunked\r\n",
    "a bare line feed": "X-A: b\nTransfer-Encoding: chunked\r\n",
    "a NUL": "X-A: b\0c\r\n",
    "two content types": "Content-Type: a/b\r\nContent-Type: c/d\r\n",
    "two keys": "Idempotency-Key: a\r\nIdempotency-Key: b\r\n",
    "too many fields": "".join(f"X-{n}: 1\r\n" for n in range(200)),
}


@pytest.mark.parametrize("field", SMUGGLED.values(), ids=SMUGGLED)
def test_what_can_be_read_in_two_ways_is_refused(serve: Serve, acme: Issued, field: str) -> None:
    with serve().connect(acme) as connection:
        connection.send(request("/a", headers=field) + request("/smuggled"))
        answer = connection.answer()
        assert (answer.status, answer.closes) == (400, True)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:messagebroker:problem:bad-request"
        assert connection.ends()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        (b"GET /\r\nHost: a\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 1000, 400),
    ],
)
def test_broken_requests_get_a_problem_and_the_end(serve: Serve, acme: Issued, raw: bytes, status: int) -> None:
    with serve().connect(acme) as connection:
        answer = connection.send(raw).answer()
        assert (answer.status, answer.json()["status"]) == (status, status)
        assert answer.json()["detail"]
        assert connection.ends()


def test_a_folder_above_stays_text(serve: Serve, acme: Issued) -> None:
    with serve().connect(acme) as connection:
        assert connection.ask("//etc/../x%20y?q=1").json()["path"] == "/etc/../x y"
