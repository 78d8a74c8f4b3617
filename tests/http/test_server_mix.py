"""All kinds of peers at once: the good ones get right answers, and of the others nothing is left."""

from __future__ import annotations

import logging
import os
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from support.certs import Issued
from support.serving import Connection, Serving, eventually, request

pytestmark = pytest.mark.clocked

RESET = struct.pack("ii", 1, 0)


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    length = str(len(environ["wsgi.input"].read())).encode()
    if environ["PATH_INFO"] == "/large":
        start_response("200 OK", [])
        return [os.urandom(200_000)] * 5
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.01)
    start_response("200 OK", [("Content-Length", str(len(length)))])
    return [length]


def good(connection: Connection, dice: random.Random) -> None:
    for _ in range(5):
        size = dice.choice([0, 1, 20_000, 200_000])
        assert connection.ask(dice.choice(["/", "/slow"]), b"x" * size).body == str(size).encode()


def pipelining(connection: Connection, dice: random.Random) -> None:
    connection.send(b"".join(request("/", b"x" * size) for size in range(20)))
    assert [connection.answer().body for _ in range(20)] == [str(size).encode() for size in range(20)]


def taking_large_answers(connection: Connection, dice: random.Random) -> None:
    assert len(connection.ask("/large").body) == 1_000_000
    assert connection.ask().body == b"0"


def leaving_half_a_request(connection: Connection, dice: random.Random) -> None:
    connection.send(request("/", b"x" * 1000)[: dice.randint(1, 900)])


def resetting_while_it_runs(connection: Connection, dice: random.Random) -> None:
    connection.send(request("/slow", b"x" * dice.randint(0, 50_000)))
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def resetting_while_it_is_answered(connection: Connection, dice: random.Random) -> None:
    connection.send(request("/large"))
    connection.sock.recv(10)
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def breaking_records(connection: Connection, dice: random.Random) -> None:
    with socket.fromfd(connection.sock.fileno(), socket.AF_INET, socket.SOCK_STREAM) as below:
        below.sendall(b"\x17\x03\x03\x00\x20" + os.urandom(32))
    assert connection.ends()


PEERS = [good, good, pipelining, taking_large_answers, leaving_half_a_request, resetting_while_it_runs,
         resetting_while_it_is_answered, breaking_records]  # fmt: skip


def test_a_mix_of_peers(serve: Callable[..., Serving], acme: Issued, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(app, settings={"max_connections_per_address": 200})
    context, until = server.context(acme), time.monotonic() + 1.5
    done: Counter[str] = Counter()
    failed: list[str] = []

    def peer(seed: int) -> None:
        dice = random.Random(seed)
        while time.monotonic() < until:
            kind = dice.choice(PEERS)
            try:
                with server.connect(context=context) as connection:
                    kind(connection, dice)
                done[kind.__name__] += 1
            except Exception as error:  # noqa: BLE001 - a thread's failure is told below
                failed.append(f"{kind.__name__}: {error!r}")

    threads = [threading.Thread(target=peer, args=(seed,)) for seed in range(12)]
    with caplog.at_level(logging.WARNING):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert set(done) == {kind.__name__ for kind in PEERS}
        assert eventually(lambda: not server.server.channels)
    assert not caplog.records
