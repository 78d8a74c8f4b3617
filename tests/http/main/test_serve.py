"""Main as a process of its own: over real TLS, with Redis, from start to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx
import psutil
import pytest
from support.installation import Installation
from support.servers import Redis

from messagebroker.db.connection import connected
from messagebroker.db.models import Heartbeat, User
from messagebroker.ops import certificates, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.first_start import ADMIN
from messagebroker.ops.redis_client import POLICY, POLICY_NUMBER

pytestmark = [pytest.mark.tier("processes"), pytest.mark.timeout(180)]
PASSWORD = "a long enough one 1"


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture(scope="module")
def installation(redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("main"), redis_url=redis.url) as installed:
        users.reset_password(ADMIN, password=PASSWORD, actor=Actor(name="cli:test"))
        installed.start("main")
        yield installed


def wait_for(what: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def login(http: httpx.Client, installation: Installation) -> dict[str, str]:
    url = installation.url("main") + "/api/v1/auth/login"
    token = http.post(url, json={"email": ADMIN, "password": PASSWORD}).raise_for_status().json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


def test_people_reach_it_with_a_token_and_without_a_certificate(installation: Installation) -> None:
    with installation.http() as http:
        url = installation.url("main")
        assert http.get(url + "/health/ready").json()["status"] == "ready"
        assert http.get(url + "/api/v1/messages").status_code == 401
        headers = login(http, installation)
        assert http.get(url + "/api/v1/messages", headers=headers).json() == {"items": [], "next": None}
        assert http.get(url + "/api/v1/queue/stats", headers=headers).status_code == 200
        assert b"BEGIN CERTIFICATE" in http.get(url + "/api/v1/ca.crt").content


def test_a_clients_certificate_beside_a_token_is_refused(installation: Installation) -> None:
    with installation.http() as http:
        headers = login(http, installation)
    with installation.http(installation.client("acme")) as http:
        url = installation.url("main") + "/api/v1/messages"
        wait_for(lambda: not http.get(url, headers=headers).json()["type"].endswith(":client-unknown"), 2)  # the policy comes
        answer = http.get(url, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["type"].endswith(":certificate-and-token")


def test_a_revoked_component_is_refused_on_an_open_connection(installation: Installation) -> None:
    folder = installation.folder / "second-portal"
    bundle = certificates.issue(installation.settings, "portal", kind="component", out=folder)
    with installation.http() as http:
        headers = login(http, installation)
    with installation.http(installation.files(folder / "portal.crt")) as http:
        url = installation.url("main") + "/api/v1/auth/me"
        assert http.get(url, headers=headers).status_code == 200
        certificates.revoke(installation.settings, "portal", serial=bundle.issued.serial)
        time.sleep(1.0)
        answer = http.get(url, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["type"].endswith(":certificate-revoked")


def test_metrics_for_monitoring(installation: Installation) -> None:
    with installation.http(installation.files(installation.certs / "monitoring.crt")) as http:
        assert "messagebroker_http_requests_total" in http.get(installation.url("main") + "/metrics").text


def test_an_empty_redis_gets_its_policy_back(installation: Installation) -> None:
    with installation.redis() as redis:
        wait_for(lambda: redis.exists(POLICY))
        before = int(redis.get(POLICY_NUMBER))  # type: ignore[arg-type]
        redis.flushall()
        wait_for(lambda: redis.exists(POLICY))
        assert int(redis.get(POLICY_NUMBER)) > before  # type: ignore[arg-type]


def test_without_redis_people_still_work(installation: Installation, redis: Redis) -> None:
    redis.kill()
    try:
        with installation.http() as http:
            headers = login(http, installation)
            url = installation.url("main")
            time.sleep(6)  # the policy is stale now
            assert http.get(url + "/api/v1/messages", headers=headers).status_code == 200
            began = time.monotonic()
            answer = http.get(url + "/api/v1/queue/stats", headers=headers)
            assert (answer.status_code, time.monotonic() - began < 2) == (503, True)
            assert http.get(url + "/health").json()["warnings"]
        with installation.http(installation.files(installation.certs / "portal.crt")) as http:
            assert http.get(url + "/api/v1/auth/me", headers=headers).status_code == 200
    finally:
        redis.start()
    with installation.http() as http:
        wait_for(lambda: not http.get(url + "/health").json()["warnings"])


def test_it_is_small_and_stops_without_a_trace(installation: Installation, record_property: Callable[..., None]) -> None:
    memory = psutil.Process(installation.pid("main")).memory_info().rss / 2**20
    record_property("main_rss_mib", round(memory))
    assert memory < 120, "after work: the idle limit of 90 MB is the bench's"
    with connected():
        assert Heartbeat.select().where(Heartbeat.role == "main").count() == 1
        assert User.select().count() == 1
    began = time.monotonic()
    assert installation.stop("main") == 0
    assert time.monotonic() - began < 15
    with connected():
        assert Heartbeat.select().where(Heartbeat.role == "main").count() == 0
    installation.start("main")
