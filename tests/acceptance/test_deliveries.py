"""What must not lose a delivery: workers that are killed, an emptied Redis, a clock that jumps, endpoints that are down.

Real processes, real sockets, MariaDB; submits go through the proxy over mutual TLS.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from support.cast import TEST
from support.installation import Installation
from support.receiver import Behaviour, Connection, Receiver, hang, ok, status
from support.servers import MariaDB, Redis
from support.subscribing import subscribe

from messagebroker.db.connection import open_database
from messagebroker.db.models import (
    OPEN_DELIVERIES,
    AllowedNetwork,
    Delivery,
    DeliveryAttempt,
    Heartbeat,
    Message,
    Subscription,
)
from messagebroker.ops import clock, ids, subscription_removal, subscriptions

pytestmark = [pytest.mark.tier("processes"), pytest.mark.timeout(120)]

TRACE = "0af7651916cd43dd8448eb211c80319c"
BACKWARDS = """
import os, pathlib, time
_mark, _time, _time_ns = pathlib.Path(os.environ["BACK_AN_HOUR"]), time.time, time.time_ns
time.time = lambda: _time() - 3600 * _mark.exists()
time.time_ns = lambda: _time_ns() - 3600 * 10**9 * _mark.exists()
from datetime import timedelta
from messagebroker.ops import clock
_now = clock.now
clock.now = lambda: _now() - timedelta(hours=_mark.exists())
"""
POISON = """
import os
from messagebroker.actors.deliveries import claimer
from messagebroker.ops import supervisor
from messagebroker.ops.channels.webhook import Webhook
claimer.RESCUE_SECONDS = supervisor.FIRST_DELAY = 0.1
_deliver = Webhook.deliver
async def deliver(self, works):
    if any(work.topic == "poison" for work in works):
        os._exit(139)
    return await _deliver(self, works)
Webhook.deliver = deliver
"""


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture(scope="module")
def installation(redis: Redis, mariadb_server: MariaDB, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("deliveries")
    with Installation(folder, redis_url=redis.url, database_url=mariadb_server.url()) as it:
        open_database(it.settings)
        AllowedNetwork.create(network="127.0.0.0/8", reason="the test's receivers", added_by="cli:test", added_at=clock.now())
        it.start("main", "proxy", "worker")
        yield it


@pytest.fixture
def sender(installation: Installation) -> Iterator[httpx.Client]:
    if not installation.is_running("worker"):
        installation.start("worker")
    with installation.http(installation.client("acme"), timeout=5) as client:
        client.base_url = httpx.URL(installation.url("proxy"))
        yield client
    Subscription.update(removed_at=clock.now(), changed_at=clock.now()).where(Subscription.removed_at.is_null()).execute()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


def webhook(receiver: Receiver, topic: str, path: str = "/hook", **fields: Any) -> int:
    """Known to the worker when this returns."""
    url = receiver.url.replace("/hook", path)
    number = subscribe([topic], config={"url": url, "timeout": 15}, **fields)
    time.sleep(1.6)  # workers look every second
    return number


def submit(
    sender: httpx.Client, topic: str, count: int = 1, *, headers: dict[str, str] | None = None, **fields: Any
) -> list[str]:
    messages = [{"topic": topic, "body": f"{topic} {number}", **fields} for number in range(count)]
    answer = sender.post("/api/v1/messages/batch", json={"messages": messages}, headers=headers)
    assert answer.status_code == 202, answer.text
    return [item["message_id"] for item in answer.json()["items"]]


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.05)


def gated(gate: threading.Event) -> Behaviour:
    """Says nothing until the gate is open."""

    async def behave(connection: Connection) -> None:
        while not gate.is_set():
            await asyncio.sleep(0.01)
        await connection.answer(ok())

    return behave


def received(receiver: Receiver) -> Counter[str]:
    return Counter(request.headers["webhook-id"] for request in list(receiver.requests))


def dead_workers() -> list[str]:
    """Those whose heartbeats still look alive."""
    return [row.instance for row in Heartbeat.select().where(Heartbeat.role == "worker") if not psutil.pid_exists(row.pid)]


def statuses(sent: list[str]) -> set[str]:
    return {row.status for row in Message.select(Message.status).where(Message.id << [ids.parse(one) for one in sent])}


def test_a_submit_arrives_within_a_second(installation: Installation, sender: httpx.Client, receiver: Receiver) -> None:
    webhook(receiver, "quick")
    submit(sender, "quick")
    receiver.wait_for(1)  # a worker's first one also waits for the HTTP library to be loaded
    took: list[float] = []
    while len(took) < 3 and min(took, default=1.0) >= 1:  # what else the machine does makes it more, and never less
        began = time.monotonic()
        sent = submit(sender, "quick", headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
        request = receiver.wait_for(2 + len(took))[-1]
        took.append(request.at - began)
    assert min(took) < 1
    assert request.headers["webhook-id"] == sent[0]
    version, trace, span, flags = request.headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert len(span) == 16
    assert span != "b7ad6b7169203331", "each attempt is a span of its own in the sender's trace"
    until(lambda: statuses(sent) == {"delivered"})


def test_a_message_waits_for_its_time_whatever_restarts(
    installation: Installation, sender: httpx.Client, receiver: Receiver, redis: Redis
) -> None:
    webhook(receiver, "at")
    moment, due = clock.now() + timedelta(seconds=9), time.monotonic() + 9
    sent = submit(sender, "at", deliver_at=moment.isoformat())
    until(lambda: statuses(sent) == {"scheduled"})
    installation.kill("worker")
    redis.kill()
    redis.start()
    installation.start("worker")
    for role in ("main", "proxy"):
        installation.wait_until_ready(role)
    assert time.monotonic() < due - 0.5, "they took so long that this proves nothing"
    (request,) = receiver.wait_for(1, 10)
    assert 0 <= request.at - due < 1
    until(lambda: statuses(sent) == {"delivered"})
    assert list(received(receiver)) == sent


def test_a_message_expires_on_time_while_its_receivers_are_down_or_hang(
    installation: Installation, sender: httpx.Client, receiver: Receiver
) -> None:
    receiver.at("/down", status(503))
    receiver.at("/hang", hang())
    hanging = subscribe(["late"], config={"url": receiver.url.replace("/hook", "/hang"), "timeout": 1}, schedule=[0] * 20)
    down = webhook(receiver, "late", "/down", schedule=[0, 60])
    over, moment = time.monotonic() + 3, clock.now() + timedelta(seconds=3)
    sent = submit(sender, "late", expires_at=moment.isoformat())
    until(lambda: statuses(sent) == {"expired"}, 8)
    rows = {row.subscription_id: row for row in Delivery.select().where(Delivery.message == ids.parse(sent[0]))}
    assert {row.status for row in rows.values()} == {"expired"}
    late = {number: (row.ended_at - moment).total_seconds() for number, row in rows.items()}
    assert 0 <= late[down] < 1
    assert 0 <= late[hanging] < 2, "an attempt that is under way comes to its end, here a time-out of one second"
    assert {request.path for request in receiver.requests} == {"/down", "/hang"}
    assert max(request.at for request in receiver.requests) < over


def test_what_ends_its_workers_is_a_dead_letter_and_stops_no_other(
    installation: Installation, sender: httpx.Client, receiver: Receiver, tmp_path: Path
) -> None:
    """Processes of a worker die of one delivery, three times. What else they have in hand then arrives all the same, and so
    does what comes meanwhile. That a silent process is believed to live for 15 s is left out, and pauses are short."""
    installation.stop("worker")
    (tmp_path / "sitecustomize.py").write_text(POISON, encoding="utf-8")
    installation.env |= {"PYTHONPATH": str(tmp_path), "WORKER_COUNT": "2"}
    try:
        installation.start("worker")
    finally:
        del installation.env["PYTHONPATH"], installation.env["WORKER_COUNT"]
    Heartbeat.delete().where(Heartbeat.instance << dead_workers()).execute()  # of other tests
    number = subscribe(["poison"], config={"url": receiver.url})
    webhook(receiver, "harmless")
    soon = (clock.now() + timedelta(seconds=0.5)).isoformat()
    harmless = submit(sender, "harmless", 20, deliver_at=soon)
    (poison,) = map(ids.parse, submit(sender, "poison", deliver_at=soon))
    for crashes in (1, 2, 3):
        until(dead_workers)
        meanwhile = submit(sender, "harmless")
        until(lambda sent=meanwhile: statuses(sent) == {"delivered"})
        harmless += meanwhile
        Heartbeat.delete().where(Heartbeat.instance << dead_workers()).execute()
        until(lambda so_many=crashes: Delivery.get(Delivery.message == poison).crashes == so_many)
    row = Delivery.get(Delivery.message == poison)
    assert (row.status, row.error) == ("failed", "3 workers ended with it in their hands")
    assert DeliveryAttempt.select().where(DeliveryAttempt.subscription_id == number).count() == 3
    until(lambda: statuses(harmless) == {"delivered"})
    assert set(received(receiver)) == set(harmless)
    assert not dead_workers()
    installation.stop("worker")


def test_what_a_killed_worker_held_arrives_under_the_same_id(
    installation: Installation, sender: httpx.Client, receiver: Receiver
) -> None:
    """At least once: what was under way is sent again, and receivers know it by its id."""
    receiver.play(hang())
    number = webhook(receiver, "killed")
    sent = submit(sender, "killed", 30)
    until(lambda: len(receiver.requests) >= 4)
    installation.kill("worker")
    held = Delivery.select().where(Delivery.subscription_id == number, Delivery.status == "processing").count()
    assert held >= 4
    receiver.play(ok())
    installation.start("worker")
    until(lambda: set(received(receiver)) == set(sent), 60)
    until(lambda: statuses(sent) == {"delivered"})
    twice = [one for one, times in received(receiver).items() if times > 1]
    assert len(twice) >= 4
    errors = {row.error for row in DeliveryAttempt.select().where(DeliveryAttempt.subscription_id == number) if row.error}
    assert errors == {"the worker ended before the answer came"}


def test_an_emptied_redis_holds_up_no_delivery(
    installation: Installation, sender: httpx.Client, receiver: Receiver, redis: Redis
) -> None:
    receiver.play(status(503), ok())
    webhook(receiver, "flushed", schedule=[0, 2])
    sent = submit(sender, "flushed", 1)
    receiver.wait_for(1)
    until(lambda: Delivery.select().where(Delivery.status == "pending", Delivery.attempts == 1).exists())
    with installation.redis() as client:
        client.flushall()
    receiver.wait_for(2, 10)
    until(lambda: statuses(sent) == {"delivered"})


def test_a_worker_whose_clock_is_set_back_goes_on(
    installation: Installation, sender: httpx.Client, receiver: Receiver, tmp_path: Path
) -> None:
    """Times are the database's; what the worker measures itself, it measures with a clock that nobody sets."""
    installation.stop("worker")
    (tmp_path / "sitecustomize.py").write_text(BACKWARDS, encoding="utf-8")
    mark = tmp_path / "back"
    installation.env |= {"PYTHONPATH": str(tmp_path), "BACK_AN_HOUR": str(mark)}
    try:
        installation.start("worker")
    finally:
        del installation.env["PYTHONPATH"], installation.env["BACK_AN_HOUR"]
    receiver.play(status(503), ok())
    webhook(receiver, "clock", schedule=[0, 2])
    sent = submit(sender, "clock")
    receiver.wait_for(1)
    mark.touch()
    receiver.wait_for(2, 10)
    until(lambda: statuses(sent) == {"delivered"})
    sent = submit(sender, "clock")
    receiver.wait_for(3, 5)
    until(lambda: statuses(sent) == {"delivered"})
    installation.stop("worker")


def test_a_subscription_that_is_removed_gets_nothing_more(
    installation: Installation, sender: httpx.Client, receiver: Receiver
) -> None:
    """Some are under way, some wait for their next attempt, most for their first."""
    gate = threading.Event()
    receiver.play(status(503), status(503), gated(gate))
    number = webhook(receiver, "removed", schedule=[0, 1, 1, 1, 1, 1])
    sent = submit(sender, "removed", 30)
    receiver.wait_for(4)
    until(lambda: Delivery.select().where(Delivery.subscription_id == number, Delivery.attempts == 1).count() == 2)
    assert subscription_removal.remove(number, TEST) == 30
    seen = len(receiver.requests)
    gate.set()
    time.sleep(2)
    assert len(receiver.requests) == seen
    assert statuses(sent) == {"cancelled"}
    rows = list(Delivery.select().where(Delivery.subscription_id == number))
    assert {(row.status, row.holder, row.due_at, row.error) for row in rows} == {
        ("cancelled", None, None, "the subscription was removed")
    }
    assert not Delivery.select().where(Delivery.status << OPEN_DELIVERIES).exists()


def test_what_was_sent_while_a_subscription_was_disabled_is_replayed(
    installation: Installation, sender: httpx.Client, receiver: Receiver
) -> None:
    """By the command, with the ids that the sender knows; what it had before does not come again."""
    number = webhook(receiver, "replayed")
    before = submit(sender, "replayed", 5)
    receiver.wait_for(5)
    until(lambda: statuses(before) == {"delivered"})
    subscriptions.disable(number, TEST, why="the shop is moving")
    time.sleep(1.6)
    meanwhile = submit(sender, "replayed", 20)
    until(lambda: statuses(meanwhile) == {"delivered"})  # for nobody
    assert len(receiver.requests) == 5
    subscriptions.enable(number, TEST)
    command = [sys.executable, "-m", "messagebroker", "subscriptions", "replay", str(number), "--since", "2026-01-01T00:00:00"]
    replay = [*command, "--yes", "--rate", "1000", "--json"]
    ran = subprocess.run(replay, env=installation.environment("main"), capture_output=True, text=True, timeout=30)
    assert (ran.returncode, json.loads(ran.stdout)["replayed"]) == (0, 20), ran.stderr
    receiver.wait_for(25, 10)
    until(lambda: statuses(before + meanwhile) == {"delivered"})
    assert received(receiver) == Counter(before + meanwhile)


def test_endpoints_that_hang_or_are_down_hold_up_no_other(
    installation: Installation, sender: httpx.Client, receiver: Receiver
) -> None:
    """Half of a thousand are bad: 250 never answer, 250 refuse. The others get theirs as if nothing were."""
    with Receiver() as gone:
        refused = gone.url
    good = {}
    for number in range(1000):
        kind = ("good", "hang", "good", "down")[number % 4]
        url = refused if kind == "down" else receiver.url.replace("/hook", f"/{kind}")
        made = subscribe([f"thousand.{number}"], config={"url": url, "timeout": 60}, schedule=[0, 5])
        if kind == "good":
            good[made] = number
    receiver.at("/hang", hang())
    time.sleep(2.5)
    messages = [{"topic": f"thousand.{number}", "body": f"{turn}"} for turn in range(2) for number in range(1000)]
    for part in (messages[:1000], messages[1000:]):
        assert sender.post("/api/v1/messages/batch", json={"messages": part}).status_code == 202

    def taken() -> int:
        return int(Delivery.select().where(Delivery.subscription_id << list(good), Delivery.status == "delivered").count())

    until(lambda: taken() == 2 * len(good), 50)  # before the first of those that hang has timed out, on a slow machine too


def test_a_critical_message_overtakes_a_backlog(installation: Installation, sender: httpx.Client, receiver: Receiver) -> None:
    """5,000 low ones wait for a slow receiver, which then gets the critical one before almost all of them."""
    gate = threading.Event()
    receiver.play(gated(gate))
    webhook(receiver, "overtaken")
    for _ in range(5):
        submit(sender, "overtaken", 1000, priority="low")
    until(lambda: Message.select().where(Message.topic == "overtaken").count() == 5000)
    began = time.monotonic()
    (critical,) = submit(sender, "overtaken", priority="critical")
    until(lambda: Delivery.select().where(Delivery.message == ids.parse(critical)).exists())
    gate.set()
    until(lambda: critical in received(receiver))
    order = [request.headers["webhook-id"] for request in receiver.requests].index(critical)
    assert receiver.requests[order].at - began < 1
    assert order < 100
