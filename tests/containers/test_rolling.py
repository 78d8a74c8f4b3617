"""Roles restarted one container after another under load: no submit fails, nothing is lost."""

from __future__ import annotations

import time
from typing import Any

import pytest
from support.containers import ROLES, Project
from support.installation import ClientFiles
from support.load import Load

from messagebroker.ops.services.order import start_order

pytestmark = [pytest.mark.tier("containers"), pytest.mark.timeout(400)]


def test_scaled_roles_are_all_ready(system: Project) -> None:
    assert [len(system.containers(role)) for role in ("worker", "proxy", "main")] == [3, 2, 1]
    system.wait_until_healthy()
    assert system.url("proxy", 1) != system.url("proxy", 2)


def test_workers_share_the_work(system: Project, sender: ClientFiles) -> None:
    with Load(system, sender, system.url("proxy", 1), system.url("proxy", 2), senders=4) as load:
        load.wait_for(300, seconds=60)
    load.require_stored()
    code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9100/metrics').read().decode())"
    busy = 0
    for number in (1, 2, 3):
        metrics = system.compose("exec", "-T", f"--index={number}", "worker", "python", "-c", code)
        stored = [line for line in metrics.splitlines() if line.startswith("messagebroker_") and "stored" in line]
        busy += any(float(line.split()[-1]) > 0 for line in stored if "created" not in line)
    assert busy >= 2


def test_a_rolling_restart_of_every_role_fails_no_submit_and_loses_nothing(
    system: Project, sender: ClientFiles, record_property: Any
) -> None:
    """Each sender knows one proxy only, so that it meets that proxy's restart with nothing but the client's normal retries."""
    began = {name: system.state(name)["StartedAt"] for role in ROLES for name in system.containers(role)}
    start = time.monotonic()
    with Load(system, sender, system.url("proxy", 1), system.url("proxy", 2)) as load:
        load.wait_for(50)
        said = system.done("restart").splitlines()
        load.wait_for(20)
    record_property("rolling_seconds", round(time.monotonic() - start))
    record_property("rolling_messages", len(load.accepted))
    record_property("rolling_slowest_ms", round(load.slowest * 1000))
    assert said == [f"{name} restarted, ready" for name in start_order()]
    assert len(began) == 8
    assert [name for name, moment in began.items() if system.state(name)["StartedAt"] <= moment] == []
    assert load.failed == []
    load.require_stored(60)
