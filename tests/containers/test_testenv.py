"""`just testenv up | url | down`: what other teams test against."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.containers import Project, as_json
from support.images import ROOT, Images, docker, said

from messagebroker.client import MessageBroker

UP_SECONDS = 60
pytestmark = [pytest.mark.tier("containers"), pytest.mark.timeout(300)]


class Testenv:
    __test__ = False

    def __init__(self, images: Images) -> None:
        self.name = f"mbtest-testenv-{os.getpid()}"
        own = {"COMPOSE_PROJECT_NAME": "production", "TESTENV_PROJECT": self.name, "TESTENV_NETWORK": self.name}
        self.environment = {**os.environ, **images.variables, **own}

    def __call__(self, *words: str) -> str:
        command = [sys.executable, str(ROOT / "docker" / "testenv.py"), *words]
        answer = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=200)
        assert answer.returncode == 0, said(answer)
        return answer.stdout


@pytest.fixture(scope="module")
def testenv(images: Images) -> Iterator[Testenv]:
    command = Testenv(images)
    Project.all_to_sleep()
    try:
        yield command
    finally:
        command("down")


def left_of(testenv: Testenv) -> str:
    project = f"label=com.docker.compose.project={testenv.name}"
    return "".join(docker(kind, "ls", "--quiet", "--filter", project) for kind in ("container", "volume", "network"))


def test_up_gives_a_broker_and_a_client_within_a_minute_and_down_leaves_nothing(testenv: Testenv, record_property: Any) -> None:
    began = time.monotonic()
    found: Any = as_json(testenv("up", "--json"))
    seconds = time.monotonic() - began
    record_property("up_seconds", round(seconds))
    assert seconds < UP_SECONDS
    assert "stored and retrieved" in docker("exec", f"{testenv.name}-main-1", "messagebroker", "smoke")
    with MessageBroker(found["proxy"], ca=found["ca"], cert=found["cert"], key=found["key"]) as broker:
        sent = broker.submit("hello")
        assert sent.durability == "fsync"
        assert broker.get(sent.message_id, wait=20).body == "hello"
    trusted = ssl.create_default_context(cafile=found["ca"])
    for role in ("main", "portal"):
        assert httpx.get(f"{found[role]}/health", verify=trusted).status_code == 200
    assert as_json(testenv("url", "--json")) == found
    assert f"curl --cacert {found['ca']}" in testenv("url")
    assert left_of(testenv)
    assert docker("network", "inspect", testenv.name, "--format", "{{.Internal}}").strip() == "false"
    testenv("down")
    assert left_of(testenv) == ""
