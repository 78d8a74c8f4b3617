"""From nothing to a message that came back, and what a second `up` does."""

from __future__ import annotations

import pytest
from support.containers import HOME, ROLES, Project, as_json

pytestmark = [pytest.mark.tier("containers"), pytest.mark.timeout(600)]


def test_it_comes_up_from_nothing_and_a_message_comes_back(system: Project) -> None:
    """Within how many seconds, with the defaults that it has here not: test_testenv.py."""
    smoke = as_json(system.run("main", "messagebroker", "smoke", "--json"))
    assert smoke["ok"], smoke
    assert "durability fsync" in str(smoke["steps"])


def test_doctor_finds_nothing_wrong(system: Project) -> None:
    answer = system.try_compose("exec", "-T", "main", "messagebroker", "doctor")
    assert answer.returncode == 0, answer.stdout


def test_the_password_and_the_recovery_key_are_shown_once(system: Project, recovery_key: str) -> None:
    shown = system.compose("run", "--rm", "-T", "handover")
    assert "admin@localhost" in shown
    assert f"recovery key: {recovery_key}" in shown
    again = system.try_compose("run", "--rm", "-T", "handover")
    assert again.returncode == 1
    assert "shown before" in again.stderr
    log = system.compose("logs", "--no-color")
    assert not [word for word in shown.split() if len(word) >= 16 and "@" not in word and word in log]


def test_a_second_up_changes_nothing_and_mends_what_is_missing(system: Project) -> None:
    before = {role: system.state(system.container(role))["StartedAt"] for role in ROLES}
    serial = system.run("main", "messagebroker", "certs", "list", "--json")
    system.run("proxy", "rm", f"{HOME}/proxy/secrets/sender.key")
    system.run("worker", "chmod", "644", f"{HOME}/worker/secrets/encryption.key")
    system.up()
    assert {role: system.state(system.container(role))["StartedAt"] for role in ROLES} == before
    assert system.run("main", "messagebroker", "certs", "list", "--json") == serial
    main, proxy = (system.run(role, "sha256sum", f"{HOME}/{folder}/secrets/sender.key").split()[0]
                   for role, folder in (("main", "main_server"), ("proxy", "proxy")))  # fmt: skip
    assert main == proxy
    assert system.run("worker", "stat", "-c", "%a", f"{HOME}/worker/secrets/encryption.key").strip() == "600"


def test_a_stop_is_orderly(system: Project) -> None:
    container = system.container("scheduler")
    system.compose("stop", "scheduler")
    assert system.state(container)["ExitCode"] == 0
    system.compose("start", "scheduler")
    system.wait_until_healthy("scheduler")
