"""The whole system while a server that it stands on is away, and what runs by the clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
import redis as redis_py
from support.installation import Installation
from support.ledger import stored_markers
from support.servers import MariaDB, Redis, Server

from messagebroker.ops import backup

pytestmark = [pytest.mark.tier("processes"), pytest.mark.timeout(180)]
DATABASE_AWAY = 12.0  # seconds; the worker's own tests fill a Redis meanwhile
REDIS_AWAY = 7.0  # longer than a policy stays fresh


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Redis, MariaDB]]:
    with Redis() as redis, MariaDB() as mariadb:
        yield redis, mariadb


@pytest.fixture(scope="module")
def installation(servers: tuple[Redis, MariaDB], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    redis, mariadb = servers
    folder = tmp_path_factory.mktemp("outages")
    with Installation(folder, redis_url=redis.url, database_url=mariadb.url()) as installed:
        installed.start("main", "proxy", "worker", "scheduler")
        yield installed
        assert installed.dead_letters() == 0


@pytest.fixture
def sender(installation: Installation) -> Iterator[httpx.Client]:
    with installation.http(installation.client("acme"), timeout=5) as client:
        client.base_url = httpx.URL(installation.url("proxy"))
        yield client


@contextmanager
def away(server: Server) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()


def submit(sender: httpx.Client, marker: str) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    answer = sender.post("/api/v1/messages", json={"body": marker}, headers={"Idempotency-Key": marker})
    return answer, time.monotonic() - began


def until(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.05)


def test_while_the_database_is_gone_the_proxy_goes_on_and_the_backlog_drains_after(
    installation: Installation, servers: tuple[Redis, MariaDB], sender: httpx.Client
) -> None:
    assert submit(sender, "before")[0].status_code == 202
    installation.wait_until_drained()
    sent = {"before"}
    with away(servers[1]):
        end = time.monotonic() + DATABASE_AWAY
        while time.monotonic() < end:
            marker = f"meanwhile-{len(sent)}"
            answer, seconds = submit(sender, marker)
            assert (answer.status_code, seconds < 1) == (202, True), answer.text
            sent.add(marker)
            time.sleep(0.02)
        assert installation.waiting() == len(sent) - 1
        with installation.http() as http:
            assert http.get(installation.url("proxy") + "/health/ready").status_code == 200
    installation.wait_until_drained(30)
    assert stored_markers(installation) == dict.fromkeys(sent, 1)


def test_while_redis_is_gone_everybody_is_told_soon_and_it_recovers_by_itself(
    installation: Installation, servers: tuple[Redis, MariaDB], sender: httpx.Client
) -> None:
    said: set[str] = set()
    with away(servers[0]):
        end = time.monotonic() + REDIS_AWAY
        while time.monotonic() < end:
            answer, seconds = submit(sender, "gone")
            assert (answer.status_code, seconds < 2) == (503, True), answer.text
            assert int(answer.headers["retry-after"]) >= 1
            said.add(answer.json()["type"].rpartition(":")[2])
            time.sleep(0.1)
    assert said == {"redis-unavailable", "policy-stale"}
    until(lambda: submit(sender, "gone")[0].status_code == 202, 5)
    installation.wait_until_drained(30)
    assert stored_markers(installation)["gone"] == 1


def test_a_stopping_main_cuts_no_request(installation: Installation) -> None:
    """Of people and of proxies: a request is answered, or was not taken at all."""
    url = installation.url("main") + "/api/v1/crl"
    answered: list[int] = []
    cut: list[str] = []

    def ask() -> None:
        with installation.http() as http:
            while True:
                try:
                    answered.append(http.get(url).status_code)
                except httpx.ConnectError:
                    return
                except httpx.RemoteProtocolError as error:
                    cut.append(str(error))
                    return

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    assert installation.stop("main") == 0
    for thread in threads:
        thread.join(20)
    installation.start("main")
    assert len(answered) > 8
    assert set(answered) <= {200, 503}
    assert set(cut) <= {"Server disconnected without sending a response."}


def test_what_is_due_by_the_clock_is_done_by_main(installation: Installation, servers: tuple[Redis, MariaDB]) -> None:
    """The scheduler's row says when; it sends, and main writes the backup and cleans up."""
    mariadb = servers[1]
    jobs = "message_system.periodic_jobs"
    until(lambda: len(mariadb.execute(f"SELECT 1 FROM {jobs}")) == 2, 10)
    at_two = mariadb.execute(f"SELECT DATE_FORMAT(due_at, '%H:%i') FROM {jobs} WHERE name = 'backup'")
    assert at_two == [("02:00",)]
    assert backup.list_all(installation.settings) == []
    mariadb.execute(f"UPDATE {jobs} SET due_at = '2020-01-01 00:00:00'")
    until(lambda: not mariadb.execute(f"SELECT 1 FROM {jobs} WHERE last_finished_at IS NULL"), 30)
    results = {str(name): str(result) for name, result in mariadb.execute(f"SELECT name, last_result FROM {jobs}")}
    [made] = backup.list_all(installation.settings)
    assert made.problem is None
    assert results["backup"].startswith(made.path.name)
    assert results["cleanup"].startswith("removed 0 messages")


def test_an_old_script_that_counts_the_old_queue_fails_instead_of_reading_0(installation: Installation) -> None:
    with installation.redis() as client, pytest.raises(redis_py.ResponseError, match="WRONGTYPE"):
        client.llen("message_queue")
