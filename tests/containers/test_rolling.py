"""Roles restarted one container after another under load: no submit fails, nothing is lost."""

from __future__ import annotations

import time
from typing import Any

import pytest
from support.containers import ROLES, Project
from support.images import docker
from support.installation import ClientFiles
from support.load import Load

pytestmark = [pytest.mark.tier("containers"), pytest.mark.timeout(400)]


def test_scaled_roles_are_all_ready(scaled: Project) -> None:
    assert [len(scaled.containers(role)) for role in ("worker", "proxy", "main")] == [3, 2, 1]
    scaled.wait_until_healthy()
    assert scaled.url("proxy", 1) != scaled.url("proxy", 2)


def test_workers_share_the_work(scaled: Project, sender: ClientFiles) -> None:
    with Load(scaled, sender, scaled.url("proxy", 1), scaled.url("proxy", 2), senders=4) as load:
        load.wait_for(300, seconds=60)
    load.require_stored()
    code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9100/metrics').read().decode())"
    busy = 0
    for number in (1, 2, 3):
        metrics = scaled.compose("exec", "-T", f"--index={number}", "worker", "python", "-c", code)
        stored = [line for line in metrics.splitlines() if line.startswith("messagebroker_") and "stored" in line]
        busy += any(float(line.split()[-1]) > 0 for line in stored if "created" not in line)
    assert busy >= 2


def test_a_rolling_restart_of_every_role_fails_no_submit_and_loses_nothing(
    scaled: Project, sender: ClientFiles, record_property: Any
) -> None:
    """Each sender knows one proxy only, so that it meets that proxy's restart with nothing but the client's normal retries."""
    restarted = 0
    began = time.monotonic()
    with Load(scaled, sender, scaled.url("proxy", 1), scaled.url("proxy", 2)) as load:
        load.wait_for(50)
        for role in ROLES:
            for container in scaled.containers(role):
                docker("restart", "--time=60", container, seconds=90)
                scaled.wait_until_healthy(role)
                restarted += 1
            load.wait_for(20)
    record_property("rolling_seconds", round(time.monotonic() - began))
    record_property("rolling_messages", len(load.accepted))
    record_property("rolling_slowest_ms", round(load.slowest * 1000))
    assert restarted == 8
    assert load.failed == []
    load.require_stored(60)
