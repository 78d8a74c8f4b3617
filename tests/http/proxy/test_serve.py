"""The role as a process: real TLS, real main and worker."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import httpx
import pytest
from support.installation import Installation
from support.servers import Redis

pytestmark = pytest.mark.tier("processes")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Redis() as redis, Installation(tmp_path_factory.mktemp("proxy"), redis_url=redis.url) as installation:
        for name in ("acme", "stranger"):
            installation.client(name)
        installation.start("main", "proxy")
        yield installation


@pytest.fixture
def http(running: Installation) -> Iterator[httpx.Client]:
    with running.http(running.client("acme")) as client:
        client.base_url = httpx.URL(running.url("proxy"))
        yield client


def test_the_certificate_is_who_sends(http: httpx.Client) -> None:
    seen = http.get("/api/v1/whoami", headers={"X-Client-Time": str(int(time.time()))}).json()
    assert seen["client_id"] == "acme"
    assert 360 < seen["certificate"]["days_left"] <= 365
    assert abs(seen["clock_skew_seconds"]) < 2
    assert http.post("/api/v1/messages", json={"body": "x"}).json()["client_id"] == "acme"


def test_a_queued_message_is_not_stored_yet_and_a_stored_one_is_opened(running: Installation, http: httpx.Client) -> None:
    message_id = http.post("/api/v1/messages", json={"body": "Grüße", "metadata": {"a": 1}}).json()["message_id"]
    answer = http.get(f"/api/v1/messages/{message_id}")
    assert answer.status_code == 404
    assert answer.json()["type"].endswith(":not-stored-yet")
    assert "retry-after" in answer.headers
    running.start("worker")
    answer = http.post("/api/v1/messages", json={"body": "x"}, headers={"Prefer": "wait=10"})
    assert (answer.status_code, answer.json()["status"]) == (201, "delivered")
    stored = http.get(f"/api/v1/messages/{message_id}").json()
    assert (stored["body"], stored["metadata"], stored["client_id"]) == ("Grüße", {"a": 1}, "acme")
    with running.http(running.client("stranger")) as other:
        assert other.get(f"{running.url('proxy')}/api/v1/messages/{message_id}").status_code == 404


def test_500_silent_connections_hold_up_no_sender(running: Installation) -> None:
    port = int(running.url("proxy").rpartition(":")[2])
    with ExitStack() as stack:
        for number in range(500):
            source = (f"127.0.0.{10 + number // 50}", 0)
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10, source_address=source))
        for _ in range(10):  # a connection each: handshakes are what silence could hold up
            began = time.monotonic()
            with running.http(running.client("acme")) as client:
                assert client.post(f"{running.url('proxy')}/api/v1/messages", json={"body": "x"}).status_code == 202
            assert time.monotonic() - began < 2


def test_a_stop_answers_what_it_has_taken(running: Installation) -> None:
    """A request is answered or not taken at all: connections that are idle when the stop comes just close."""
    files = running.client("acme")
    answers: list[httpx.Response] = []
    closed: list[str] = []
    stopping = threading.Event()
    running.wait_until_drained(30)
    before = stored(running)

    def send() -> None:
        with running.http(files) as client:
            while not stopping.is_set():
                try:
                    answers.append(client.post(f"{running.url('proxy')}/api/v1/messages", json={"body": "x"}))
                except httpx.ConnectError:
                    return
                except httpx.RemoteProtocolError as error:
                    closed.append(str(error))
                    return

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    assert running.stop("proxy") == 0
    stopping.set()
    for thread in threads:
        thread.join(20)
    assert len(answers) > 20
    assert {answer.status_code for answer in answers} == {202}
    assert set(closed) <= {"Server disconnected without sending a response."}
    running.wait_until_drained(30)
    assert stored(running) - before == len(answers)


def stored(running: Installation) -> int:
    """Rows in the table, counted from outside."""
    path = running.settings.database.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM messages").fetchone()[0])
