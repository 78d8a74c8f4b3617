"""Real worker processes, steered while they work: over a real Redis and a real MariaDB, with a real receiver."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from support.installation import Installation
from support.queued import enqueue
from support.receiver import Receiver
from support.records import record, records
from support.servers import MariaDB, Redis
from support.subscribing import subscribe

from messagebroker.db.connection import connected, open_database
from messagebroker.db.models import AllowedNetwork, Message
from messagebroker.ops import clock
from messagebroker.ops.queues import depths

pytestmark = pytest.mark.tier("processes")


class Steered:
    """An installation and its command line."""

    def __init__(self, it: Installation, redis: Redis) -> None:
        self.it = it
        self.redis = redis
        self.client = redis_py.Redis(port=redis.port)

    def command(self, *words: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "messagebroker", *words, "--json"],
            env=self.it.environment("worker"), cwd=self.it.folder, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def waiting(self, queue: str = "normal") -> int:
        return next(found.messages for found in depths(self.client) if found.queue == queue)

    def worker(self) -> dict[str, Any]:
        [found] = self.command("workers", "list")["workers"]
        return dict(found)

    def stored(self) -> int:
        open_database(self.it.settings)
        with connected():
            return int(Message.select().count())


@pytest.fixture
def steered(tmp_path: Path) -> Iterator[Steered]:
    with Redis() as redis, MariaDB() as mariadb:
        with Installation(tmp_path, redis_url=redis.url, database_url=mariadb.url()) as it:
            made = Steered(it, redis)
            yield made
            made.client.close()


def subscribed(it: Installation, url: str) -> None:
    """To everything; the receiver is in a network that has to be allowed."""
    open_database(it.settings)
    with connected():
        now = clock.now()
        AllowedNetwork.insert(network="127.0.0.0/8", reason="test", added_by="test", added_at=now).execute()
        subscribe(config={"url": url})
    time.sleep(1.5)  # workers look once a second


def until(condition: Callable[[], object], seconds: float) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not so within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - began


def test_a_pause_is_followed_within_a_second_survives_everything_and_ends(steered: Steered) -> None:
    steered.it.start("worker")
    enqueue(steered.client, records(5))
    until(lambda: steered.waiting() == 0, 10)
    steered.command("queue", "pause", "normal", "--reason", "test")
    time.sleep(1.2)
    enqueue(steered.client, [*records(40), *[record(priority=1) for _ in range(3)]])
    until(lambda: steered.waiting("high") == 0, 10)
    assert steered.waiting() == 40, "accepted messages wait"
    steered.client.flushall()
    enqueue(steered.client, records(30))
    steered.it.restart("worker")
    enqueue(steered.client, [record(priority=1)])
    until(lambda: steered.waiting("high") == 0, 10)
    assert steered.waiting() == 30, "neither an emptied Redis nor a restart resumes"
    found = {queue["queue"]: queue for queue in steered.command("queue", "stats")["queues"]}
    assert found["normal"]["paused"]["reason"] == "test"
    assert (found["normal"]["waiting"], found["normal"]["workers"]) == (30, 1)
    steered.command("queue", "resume", "normal")
    assert until(lambda: steered.waiting() == 0, 10) < 3
    assert steered.stored() == 5 + 3 + 1 + 30, "the 40 went with the Redis that was emptied"
    assert steered.command("queue", "drain", "--timeout", "20s")["drained"]


def test_workers_grow_and_shrink_under_load_and_lose_nothing(steered: Steered) -> None:
    steered.it.start("worker")
    until(lambda: steered.worker()["threads"] == 3, 15)
    sent = 0
    for number, threads in enumerate((8, 1, 5)):
        steered.command("workers", "scale", "--threads", str(threads), "--deliveries", str(100 + number))
        began = time.monotonic()
        while time.monotonic() - began < 2:
            enqueue(steered.client, records(300))
            sent += 300
            time.sleep(0.05)
    until(lambda: steered.waiting() == 0, 30)
    assert steered.stored() == sent
    found = steered.worker()
    until(lambda: (steered.worker()["threads"], steered.worker()["deliveries_at_once"]) == (6, 102), 15)
    assert found["runs"]
    assert found["version"]
    steered.command("workers", "scale", "--reset")
    until(lambda: (steered.worker()["threads"], steered.worker()["deliveries_at_once"]) == (3, 1000), 15)
    assert steered.it.stop("worker") == 0


def test_deliveries_of_a_paused_queue_wait(steered: Steered) -> None:
    it = steered.it
    with Receiver() as receiver:
        it.start("main")
        it.start("proxy", "worker")
        subscribed(it, receiver.url)
        with it.http(it.client("sender")) as http:

            def send(priority: str) -> None:
                answer = http.post(
                    it.url("proxy") + "/api/v1/messages", json={"topic": "orders", "body": "hello", "priority": priority}
                )
                assert answer.status_code == 202, answer.text

            send("low")
            receiver.wait_for(1)
            steered.command("queue", "pause", "low")
            time.sleep(1.5)
            for _ in range(5):
                send("low")
            send("high")
            assert len(receiver.wait_for(2)) == 2
            time.sleep(1)
            assert len(receiver.requests) == 2
            peeked = steered.command("queue", "peek", "low")["items"]
            assert [one["topic"] for one in peeked] == ["orders"] * 5
            steered.command("queue", "resume", "low")
            receiver.wait_for(7)
    rates = {queue["queue"]: queue for queue in steered.command("queue", "stats")["queues"]}
    assert rates["low"]["in_per_second"] > 0
    assert rates["low"]["delivered_per_second"] > 0
