"""Messages on their way from a sender to a client that pulls: real processes, and hundreds that wait."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from support.installation import Installation
from support.pull_server import pull_of
from support.pulled import subscribe
from support.servers import Redis

from messagebroker.client import MessageBroker, Problem, PullClient
from messagebroker.db.connection import connected
from messagebroker.ops import certificates, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.first_start import ADMIN

pytestmark = [pytest.mark.tier("processes"), pytest.mark.timeout(180)]
PASSWORD = "a long enough one 1"
CLIENTS, EACH = 50, 10


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    most: dict[str, Any] = dict.fromkeys(("max_connections_per_address", "api_rate_per_user", "api_rate_per_address"), 10_000)
    with Redis() as redis, Installation(tmp_path_factory.mktemp("pulls"), redis_url=redis.url, **most) as installed:
        users.reset_password(ADMIN, password=PASSWORD, actor=Actor(name="cli:test"))
        installed.start("main", "proxy", "worker")
        yield installed


def files(installation: Installation, name: str) -> dict[str, Any]:
    made = installation.client(name)
    return {"cert": made.cert, "key": made.key, "ca": made.ca}


def puller(installation: Installation, name: str) -> PullClient:
    """When main knows the client."""
    client = PullClient(installation.url("main"), **files(installation, name))
    deadline = time.monotonic() + 10
    while True:
        try:
            client.pull(1)
        except Problem as problem:
            if problem.name == "not-found":
                return client
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def subscribed(client: str, **changes: Any) -> int:
    """When the workers know it, too."""
    with connected():
        number = subscribe(client, topics=f'["{client}.*"]', **changes)
    time.sleep(1.5)
    return number


def test_from_the_sender_to_who_waits(installation: Installation, record_property: Callable[..., None]) -> None:
    client = puller(installation, "buyer")
    number = subscribed("buyer", ordered_by="correlation_id")
    with MessageBroker(installation.url("proxy"), **files(installation, "seller")) as seller, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.pull, number, wait=20)
        time.sleep(0.5)
        began = time.monotonic()
        sent = seller.submit("one", topic="buyer.orders", metadata={"n": 1})
        [first] = answer.result(10).items
        seconds = time.monotonic() - began
        assert (first.message_id, first.body, first.client, first.metadata) == (sent.message_id, "one", "seller", {"n": 1})
        record_property("submit_to_pull_ms", round(seconds * 1000))
        assert seconds < 1.0
        assert seller.get(sent.message_id).status == "processing"
        client.acknowledge(number, [first.lease_id])
        assert seller.get(sent.message_id).status == "delivered"
        second = seller.submit("two", topic="buyer.orders")
        [taken] = client.pull(number, wait=20, lease=5).items
        [again] = client.pull(number, wait=20).items  # the lease ends meanwhile, and nobody did anything
        assert [one.message_id for one in (taken, again)] == [second.message_id] * 2
        assert (taken.attempt, again.attempt) == (1, 2)
        assert client.acknowledge(number, [taken.lease_id, again.lease_id]).items[0].result == "lost"
        assert seller.get(second.message_id).status == "delivered"
    client.close()


def test_a_client_that_is_revoked_while_it_waits_gets_nothing(installation: Installation) -> None:
    client = puller(installation, "thief")
    number = subscribed("thief")
    with MessageBroker(installation.url("proxy"), **files(installation, "seller")) as seller, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.pull, number, wait=20)
        time.sleep(0.5)
        certificates.revoke(installation.settings, "thief")
        time.sleep(1.0)
        sent = seller.submit("secret", topic="thief.orders")
        with pytest.raises(Problem) as caught:
            answer.result(25)
        assert (caught.value.status, caught.value.name) == (403, "certificate-revoked")
        assert seller.get(sent.message_id, wait=5).status == "pending"
    client.close()


def test_500_who_wait_leave_main_to_the_others(installation: Installation, record_property: Callable[..., None]) -> None:
    contexts = [installation.client(f"waiter-{number}").context() for number in range(CLIENTS)]
    puller(installation, f"waiter-{CLIENTS - 1}").close()
    with connected():
        numbers = [subscribe(f"waiter-{number}") for number in range(CLIENTS)]

    with ExitStack() as stack:
        waiting = []
        for context, number in zip(contexts, numbers, strict=True):
            for _ in range(EACH):
                raw = socket.create_connection(("127.0.0.1", installation.settings.main_server_port), timeout=10)
                waiting.append(stack.enter_context(context.wrap_socket(raw, server_hostname="localhost")))
                waiting[-1].sendall(pull_of(number, 30))
        time.sleep(1)
        p99 = p99_of_others(installation)
        assert not any(is_answered(one) for one in waiting), "all of them still wait"
    record_property("p99_ms_with_500_waiters", round(p99 * 1000, 1))
    assert p99 < 0.1


def is_answered(connection: ssl.SSLSocket) -> bool:
    connection.settimeout(0)
    try:
        connection.recv(1)
    except ssl.SSLWantReadError:
        return False
    return True


def p99_of_others(installation: Installation) -> float:
    """Of a person's requests, seconds."""
    url = installation.url("main")
    with installation.http() as http:
        answer = http.post(f"{url}/api/v1/auth/login", json={"email": ADMIN, "password": PASSWORD})
        headers = {"Authorization": f"Bearer {json.loads(answer.content)['access_token']}"}
        seconds = []
        for _ in range(300):
            began = time.perf_counter()
            assert http.get(f"{url}/api/v1/messages", headers=headers).status_code == 200
            seconds.append(time.perf_counter() - began)
    return sorted(seconds)[int(len(seconds) * 0.99)]
