"""Real worker processes over a real Redis and a real MariaDB: killed, stopped, cut off."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pymysql
import pytest
import redis as redis_py
from support.installation import Installation
from support.records import KEYS, record, records
from support.servers import MariaDB, Redis

from messagebroker.actors import ingest
from messagebroker.ops.queues import depths
from messagebroker.ops.records import Record
from messagebroker.ops.redis_client import CRASHES

pytestmark = pytest.mark.tier("processes")


class Workers:
    """An installation whose messages come straight from here, without a proxy."""

    def __init__(self, folder: Path, redis: Redis, mariadb: MariaDB, **settings: object) -> None:
        self.url = mariadb.fresh(folder.name.replace("-", "_")[-30:])
        self.mariadb = mariadb
        self.it = Installation(folder, redis_url=redis.url, database_url=self.url, **settings)
        self.client = redis_py.Redis(port=redis.port)

    def enqueue(self, many: list[Record]) -> None:
        pipe = self.client.pipeline(transaction=True)
        ingest.add_calls(pipe, many, KEYS)
        pipe.execute()

    def waiting(self) -> int:
        return sum(found.messages for found in depths(self.client))

    def running(self) -> int:
        return sum(found.running for found in depths(self.client))

    def stored(self) -> list[bytes]:
        return [bytes(row[0]) for row in self.mariadb.execute(f"SELECT id FROM {self.url.rpartition('/')[2]}.messages")]  # type: ignore[call-overload]

    def until(self, condition: object, seconds: float) -> float:
        assert callable(condition)
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < seconds, f"not so within {seconds} s: {self.it.log('worker')}"
            time.sleep(0.02)
        return time.monotonic() - began


@pytest.fixture
def servers() -> Iterator[tuple[Redis, MariaDB]]:
    with Redis() as redis, MariaDB() as mariadb:
        yield redis, mariadb


@pytest.fixture
def workers(tmp_path: Path, servers: tuple[Redis, MariaDB]) -> Iterator[Workers]:
    made = Workers(tmp_path, *servers)
    with made.it:
        yield made
    assert made.it.dead_letters() == 0
    made.client.close()


class Lock:
    """Holds the table, so that a worker is caught in the middle of storing."""

    def __init__(self, workers: Workers) -> None:
        name = workers.url.rpartition("/")[2]
        socket = str(workers.mariadb.folder / "sock")
        self.connection = pymysql.connect(unix_socket=socket, user="root", database=name)
        self.connection.cursor().execute("LOCK TABLES messages WRITE")

    def release(self) -> None:
        self.connection.close()


def test_a_call_held_by_a_killed_worker_runs_again_within_30_seconds(workers: Workers) -> None:
    workers.it.start("worker", "worker#2")
    many = records(40)
    lock = Lock(workers)
    workers.enqueue(many)
    workers.until(lambda: workers.running() == 1, 5)
    names = ("worker", "worker#2")
    workers.until(lambda: any(_holds(workers, name) for name in names), 10)  # it has the call, and soon a query that waits
    holder = next(name for name in names if _holds(workers, name))
    workers.it.kill(holder)
    lock.release()
    assert workers.until(lambda: workers.waiting() == 0, 30) > 1, "the killed one still held it"
    assert sorted(workers.stored()) == sorted(one.id for one in many)
    assert not workers.client.exists(CRASHES)


def _holds(workers: Workers, name: str) -> bool:
    """Whether that worker waits to insert into the locked table: its connections are known by their ports.

    Its look for what is due may wait for the same lock, and says nothing about who has the call.
    """
    ports = {at.laddr.port for at in psutil.Process(workers.it.pid(name)).net_connections("tcp") if at.status == "ESTABLISHED"}
    waiting = workers.mariadb.execute(
        "SELECT HOST FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table%' AND INFO LIKE 'INSERT%'"
    )
    return any(int(str(row[0]).rpartition(":")[2]) in ports for row in waiting)


def test_the_only_worker_is_killed_and_started_again(workers: Workers) -> None:
    workers.it.start("worker")
    many = records(40)
    lock = Lock(workers)
    workers.enqueue(many)
    workers.until(lambda: workers.running() == 1, 5)
    workers.it.kill("worker")
    lock.release()
    workers.it.start("worker")
    workers.until(lambda: workers.waiting() == 0, 30)
    assert sorted(workers.stored()) == sorted(one.id for one in many)


def test_a_database_that_is_away_makes_a_backlog_and_nothing_else(workers: Workers) -> None:
    workers.it.start("worker")
    workers.enqueue(records(1))
    workers.until(lambda: workers.waiting() == 0, 5)
    workers.mariadb.kill()
    many = [record(priority=number % 4) for number in range(3000)]
    for at in range(0, 3000, 100):
        workers.enqueue(many[at : at + 100])
    time.sleep(8)
    assert workers.waiting() == 3000
    health = httpx.get(workers.it.url("worker") + "/health/ready", timeout=20)
    assert (health.status_code, httpx.get(workers.it.url("worker") + "/health").status_code) == (503, 200)
    assert "messagebroker_database_down 1.0" in httpx.get(workers.it.url("worker") + "/metrics").text
    workers.mariadb.start()
    workers.until(lambda: workers.waiting() == 0, 20)
    assert len(workers.stored()) == len(set(workers.stored())) == 3001
    assert "messagebroker_database_down 0.0" in httpx.get(workers.it.url("worker") + "/metrics").text


def filled(workers: Workers) -> list[bytes]:
    """The ids of what was enqueued until Redis was full. After any other error uncounted messages may be there."""
    accepted: list[bytes] = []
    for _ in range(5000):
        many = records(20)
        try:
            workers.enqueue(many)
        except redis_py.ResponseError as error:
            if "maxmemory" in str(error) or "OOM" in str(error):
                break
            raise
        accepted += [one.id for one in many]
    return accepted


def test_a_redis_that_filled_up_meanwhile_drains_by_itself(tmp_path: Path, servers: tuple[Redis, MariaDB]) -> None:
    with Redis(maxmemory="8mb") as small:
        workers = Workers(tmp_path, small, servers[1])
        with workers.it:
            workers.it.start("worker")
            workers.mariadb.kill()
            accepted = filled(workers)
            assert 1000 < len(accepted) < 100_000, "Redis is full"
            workers.mariadb.start()
            workers.until(lambda: workers.waiting() == 0, 60)
            assert sorted(workers.stored()) == sorted(accepted)
            assert workers.it.dead_letters() == 0
        workers.client.close()


def test_redis_killed_under_load_loses_and_doubles_nothing(workers: Workers, servers: tuple[Redis, MariaDB]) -> None:
    workers.it.start("worker")
    many = records(10_000)
    for at in range(0, 5000, 100):
        workers.enqueue(many[at : at + 100])
    servers[0].kill()
    time.sleep(1)
    servers[0].start()
    for at in range(5000, 10_000, 100):
        workers.enqueue(many[at : at + 100])
    workers.until(lambda: workers.waiting() == 0, 15)
    assert sorted(workers.stored()) == sorted(one.id for one in many)


@pytest.mark.parametrize("database_is_up", [True, False])
def test_a_stop_in_the_middle_is_quick_and_loses_nothing(workers: Workers, database_is_up: bool) -> None:
    workers.it.start("worker")
    if not database_is_up:
        workers.mariadb.kill()
    many = records(20_000)
    for at in range(0, 20_000, 500):
        workers.enqueue(many[at : at + 500])
    if database_is_up:
        workers.until(lambda: workers.waiting() < 20_000, 10)
    else:
        time.sleep(1)
    began = time.monotonic()
    assert workers.it.stop("worker") == 0
    assert time.monotonic() - began < 5
    assert workers.running() == 0, "nothing waits for a heartbeat to be missed"
    if not database_is_up:
        workers.mariadb.start()
    assert workers.waiting() == 20_000 - len(workers.stored())
    workers.it.start("worker")
    workers.until(lambda: workers.waiting() == 0, 30)
    assert sorted(workers.stored()) == sorted(one.id for one in many)


def test_several_processes_share_the_work_and_show_their_sum(tmp_path: Path, servers: tuple[Redis, MariaDB]) -> None:
    workers = Workers(tmp_path, *servers, worker_count=2)
    with workers.it:
        workers.it.start("worker")
        parent = psutil.Process(workers.it.pid("worker"))
        children = parent.children()
        assert len(children) == 2
        many = records(20_000)
        for at in range(0, 20_000, 500):
            workers.enqueue(many[at : at + 500])
        workers.until(lambda: workers.waiting() == 0, 30)
        text = httpx.get(workers.it.url("worker") + "/metrics").text
        assert 'messagebroker_messages_stored_total{priority="normal"} 20000.0' in text
        assert 'messagebroker_queue_messages{queue="normal"} 0.0' in text
        children[0].kill()
        workers.until(lambda: httpx.get(workers.it.url("worker") + "/health").status_code == 503, 5)
        workers.until(lambda: httpx.get(workers.it.url("worker") + "/health").status_code == 200, 20)
        assert workers.it.stop("worker") == 0
        assert not any(child.is_running() for child in children)
    workers.client.close()


def test_children_end_with_their_parent(tmp_path: Path, servers: tuple[Redis, MariaDB]) -> None:
    workers = Workers(tmp_path, *servers, worker_count=2)
    with workers.it:
        workers.it.start("worker")
        process = workers.it.processes["worker"]
        children = psutil.Process(process.pid).children()
        assert len(children) == 2
        process.kill()
        workers.until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children), 10)
    workers.client.close()


def test_two_schedulers_and_one_of_them_leads(workers: Workers) -> None:
    workers.it.start("scheduler", "scheduler#2")
    name = workers.url.rpartition("/")[2]
    leading = f"SELECT pid FROM {name}.heartbeats WHERE leading_until > UTC_TIMESTAMP(6)"
    workers.until(lambda: len(workers.mariadb.execute(leading)) == 1, 10)
    first = workers.mariadb.execute(leading)[0][0]
    leader = next(name for name in ("scheduler", "scheduler#2") if workers.it.pid(name) == first)
    workers.until(lambda: len(workers.mariadb.execute(f"SELECT 1 FROM {name}.periodic_jobs")) == 2, 5)
    workers.mariadb.execute(f"UPDATE {name}.periodic_jobs SET due_at = '2020-01-01 00:00:00'")
    workers.until(lambda: workers.client.llen("messagebroker:ops") == 2, 5)
    began = time.monotonic()
    workers.it.stop(leader)
    assert time.monotonic() - began < 5
    workers.until(lambda: workers.mariadb.execute(leading)[0:] not in ([], [(first,)]), 10)
    workers.it.start(leader)
    time.sleep(2)
    assert workers.client.llen("messagebroker:ops") == 2, "a restart sends nothing again"


def test_an_idle_worker_costs_little(workers: Workers) -> None:
    """Less than 2 % of a core, or of a slower one as much more as other work takes longer there."""
    workers.it.start("worker")
    workers.enqueue(records(500))
    workers.until(lambda: workers.waiting() == 0, 5)
    process = psutil.Process(workers.it.pid("worker"))
    time.sleep(2)
    shares = []
    while len(shares) < 3 and min(shares, default=1) >= 0.02:  # what else the machine does makes it more, and never less
        share, slower = _share_of_a_core(process, 10)
        shares.append(share / slower)
        print(f"idle: {share:.2%} of a core, {slower:.2f} times as slow as where the limit comes from")
    memory = process.memory_info().rss / 2**20
    print(f"memory: {memory:.0f} MiB")
    assert min(shares) < 0.02
    assert memory < 90


USUAL_SECONDS = 0.6e-3
"""Processor time of `_work` between rests, on the machine of docs/performance.md when it is quiet: the median."""


def _share_of_a_core(process: psutil.Process, seconds: float) -> tuple[float, float]:
    """Of a process, and how many times longer some work takes meanwhile than on a quiet machine (1: no longer)."""
    before, end = process.cpu_times(), time.monotonic() + seconds
    found: list[float] = []
    while time.monotonic() < end:
        time.sleep(0.05)
        began = time.thread_time()
        _work()
        found.append(time.thread_time() - began)
    after = process.cpu_times()
    share = (after.user + after.system - before.user - before.system) / seconds
    return share, max(1.0, statistics.median(found) / USUAL_SECONDS)


def _work() -> None:
    """What Python programs do."""
    for number in range(60):
        json.loads(json.dumps({"numbers": [number] * 20, "text": "x" * 50}))


def test_a_worker_says_what_it_cannot_do(tmp_path: Path) -> None:
    """Without a schema nothing is consumed."""
    command = [sys.executable, "-m", "messagebroker", "run", "worker"]
    env = {**os.environ, "DATA_DIR": str(tmp_path), "ENVIRONMENT": "test", "METRICS_PORT": "0"}
    found = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert found.returncode != 0
    assert "db upgrade" in found.stderr
