"""Peers that take too much time, memory or connections, and those who are served nevertheless."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.certs import Issued
from support.serving import Connection, Serving, eventually, request

from messagebroker.http.limits import ANONYMOUS_BODY_BYTES
from messagebroker.ops import metrics

pytestmark = pytest.mark.clocked

Serve = Callable[..., Serving]
BEGINNING = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


def refused(reason: str) -> float:
    return metrics.REGISTRY.get_sample_value("messagebroker_tls_refused_total", {"reason": reason}) or 0.0


@pytest.fixture
def silent() -> Iterator[Callable[[Serving, int, str], None]]:
    """Opens connections that say nothing, from one address."""
    with ExitStack() as stack:

        def open_some(server: Serving, count: int, source: str) -> None:
            for _ in range(count):
                stack.enter_context(server.raw(source))

        yield open_some


def test_500_silent_connections_hold_up_nobody(serve: Serve, acme: Issued, silent: Any) -> None:
    server = serve()
    with server.connect(acme) as before:
        for number in range(10):
            silent(server, 50, f"127.0.0.{number + 10}")
        assert eventually(lambda: len(server.server.channels) == 501)
        began = time.monotonic()
        for number in range(20):
            with server.connect(acme) as fresh:
                assert fresh.ask(f"/{number}").status == 200
            assert before.ask().status == 200
        assert time.monotonic() - began < 2  # 50 ms for a handshake and two requests


def test_silent_connections_end_at_the_handshake_deadline(serve: Serve, silent: Any) -> None:
    server, before = serve(handshake_seconds=0.2), refused("timeout")
    silent(server, 20, "127.0.0.1")
    assert eventually(lambda: refused("timeout") == before + 20)
    assert not server.server.channels


def test_silent_connections_give_way_to_senders_from_the_same_address(serve: Serve, acme: Issued, silent: Any) -> None:
    server, before = serve(max_connections_per_address=10), refused("displaced")
    silent(server, 30, "127.0.0.1")
    assert server.ask(acme).status == 200
    assert refused("displaced") >= before + 20
    assert len(server.server.channels) <= 10


def test_connections_of_one_address_are_limited_when_all_of_them_work(serve: Serve, acme: Issued) -> None:
    server, before = serve(max_connections_per_address=5), refused("too-many-connections")
    with ExitStack() as stack:
        for _ in range(5):
            assert stack.enter_context(server.connect(acme)).ask().status == 200
        with pytest.raises((ConnectionError, OSError)):
            server.connect(acme)
        assert refused("too-many-connections") == before + 1
        with server.connect(acme, source="127.0.0.77") as other:
            assert other.ask().status == 200
    assert eventually(lambda: not server.server.channels)
    assert server.ask(acme).status == 200


def test_connections_together_are_limited_and_silent_ones_go_first(serve: Serve, acme: Issued, silent: Any) -> None:
    server = serve(max_connections=8)
    silent(server, 20, "127.0.0.9")
    with ExitStack() as stack:
        for _ in range(8):
            assert stack.enter_context(server.connect(acme)).ask().status == 200
        with pytest.raises((ConnectionError, OSError)):
            server.connect(acme)


def times_out(connection: Connection, within: float) -> None:
    began = time.monotonic()
    answer = connection.answer()
    assert time.monotonic() - began < within
    assert (answer.status, answer.closes) == (408, True)
    assert answer.json()["type"] == "urn:messagebroker:problem:request-timeout"
    assert connection.ends()


def test_slow_headers(serve: Serve, acme: Issued) -> None:
    with serve(header_seconds=0.4).connect(acme) as connection:
        for byte in b"GET / HTTP":  # bytes that keep coming do not help
            connection.send(bytes([byte]))
            time.sleep(0.03)
        times_out(connection, 1.5)


def test_silence_after_the_handshake(serve: Serve, acme: Issued) -> None:
    with serve(header_seconds=0.3, linger_seconds=0.2).connect(acme) as connection:
        assert connection.ends()


def test_idle_connections_end(serve: Serve, acme: Issued) -> None:
    with serve(idle_seconds=0.3).connect(acme) as connection:
        assert connection.ask().status == 200
        began = time.monotonic()
        assert connection.ends()
        assert time.monotonic() - began < 2


def test_a_body_that_stops(serve: Serve, acme: Issued) -> None:
    with serve(body_seconds=0.4).connect(acme) as connection:
        connection.send(request("/", b"x" * 100)[:-50])
        times_out(connection, 1.5)


def test_a_body_under_the_minimum_rate(serve: Serve, acme: Issued) -> None:
    server = serve(rate_grace_seconds=0.3, min_body_rate=1000)
    with server.connect(acme) as slow, server.connect(acme) as fast:
        slow.send(BEGINNING + b"Content-Length: 100000\r\n\r\n")
        fast.send(BEGINNING + b"Content-Length: 20000\r\n\r\n")
        for _ in range(10):
            slow.send(b"x")
            fast.send(b"x" * 2000)
            time.sleep(0.05)
        assert fast.answer().json()["length"] == 20_000
        times_out(slow, 1.5)


def test_the_application_may_take_longer_than_any_deadline(serve: Serve, acme: Issued) -> None:
    def slow(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        time.sleep(0.7)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    limits = {"header_seconds": 0.3, "body_seconds": 0.3, "idle_seconds": 0.4, "handshake_seconds": 0.5}
    with serve(slow, **limits).connect(acme) as connection:
        connection.send(request("/a") + BEGINNING)  # and half of the next one
        assert connection.answer().body == b"ok"
        connection.send(b"\r\n")
        assert connection.answer().body == b"ok"


def test_a_reader_that_never_reads_is_closed(serve: Serve, acme: Issued) -> None:
    def large(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        return iter([b"x" * 1_000_000] * 20)

    server = serve(large, body_seconds=0.4, threads=1)
    with server.connect(acme) as connection:
        connection.send(request())
        assert eventually(lambda: not server.server.channels)
        assert server.ask(acme, method="HEAD").status == 200  # the thread is free again


@pytest.mark.parametrize("field", ["X-Long: " + "a" * 20_000, "\r\n".join(f"X-{n}: {'b' * 400}" for n in range(50))])
def test_oversized_headers(serve: Serve, acme: Issued, field: str) -> None:
    with serve().connect(acme) as connection:
        answer = connection.ask(headers=field + "\r\n")
        assert (answer.status, answer.closes) == (431, True)
        assert answer.json()["type"] == "urn:messagebroker:problem:headers-too-large"
        assert connection.ends()


def test_headers_that_never_end_are_refused_at_the_limit(serve: Serve, acme: Issued) -> None:
    with serve().connect(acme) as connection:
        connection.send(BEGINNING + b"X: " + b"a" * 17_000)
        assert connection.answer().status == 431


SIZE = {"settings": {"max_request_bytes": 100_000, "max_body_bytes": 50_000}}


def too_large(connection: Connection) -> None:
    answer = connection.answer()
    assert (answer.status, answer.closes) == (413, True)
    assert answer.json()["type"] == "urn:messagebroker:problem:too-large"


def test_a_body_of_just_the_limit_is_taken(serve: Serve, acme: Issued) -> None:
    assert serve(**SIZE).ask(acme, body=b"x" * 100_000).json()["length"] == 100_000


def test_an_announced_body_that_is_too_long_is_refused_before_it_is_sent(serve: Serve, acme: Issued) -> None:
    with serve(**SIZE).connect(acme) as connection:
        connection.send(BEGINNING + b"Content-Length: 100001\r\n\r\n")
        too_large(connection)


def test_the_answer_arrives_although_the_body_is_being_sent(serve: Serve, acme: Issued) -> None:
    with serve(**SIZE).connect(acme) as connection:
        connection.send(request("/", b"x" * 2_000_000))
        too_large(connection)


def test_an_announced_body_that_is_too_long_is_not_continued(serve: Serve, acme: Issued) -> None:
    with serve(**SIZE).connect(acme) as connection:
        connection.send(BEGINNING + b"Expect: 100-continue\r\nContent-Length: 100001\r\n\r\n")
        too_large(connection)


def test_a_body_that_may_come_is_continued(serve: Serve, acme: Issued) -> None:
    with serve(**SIZE).connect(acme) as connection:
        connection.send(BEGINNING + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert connection.sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert connection.send(b"body").answer().json()["length"] == 4
        connection.send(BEGINNING + b"Expect: 100-continue\r\n\r\n")  # without a body there is nothing to wait for
        assert connection.answer().json()["length"] == 0


def test_a_chunked_body_that_grows_too_long(serve: Serve, acme: Issued) -> None:
    with serve(**SIZE).connect(acme) as connection:
        connection.send(BEGINNING + b"Transfer-Encoding: chunked\r\n\r\n")
        connection.send((b"C350\r\n" + b"x" * 50_000 + b"\r\n") * 3)
        too_large(connection)


def test_without_a_certificate_bodies_are_short(serve: Serve, acme: Issued) -> None:
    server = serve()
    assert server.ask(body=b"x" * ANONYMOUS_BODY_BYTES).status == 200
    answer = server.ask(body=b"x" * (ANONYMOUS_BODY_BYTES + 1))
    assert answer.status == 413
    assert str(ANONYMOUS_BODY_BYTES) in answer.json()["detail"]


def test_bodies_of_all_connections_together_are_limited(serve: Serve, acme: Issued) -> None:
    server = serve(held_bytes=1_000_000)
    with ExitStack() as stack:
        small = stack.enter_context(server.connect(acme)).send(request("/small", b"x" * 1000)[:-1])
        large = stack.enter_context(server.connect(acme)).send(request("/large", b"x" * 1_200_000)[:-1])
        answer = large.answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["type"] == "urn:messagebroker:problem:overloaded"
        assert small.send(b"x").answer().json()["length"] == 1000
