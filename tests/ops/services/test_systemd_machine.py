"""The units on a real systemd: installed, started, watched, stopped, restarted, upgraded, removed."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest
from support.systemd_machine import ROOT, Machine

from messagebroker.ops.services.plan import PLANS
from messagebroker.roles import NAMES

pytestmark = [pytest.mark.tier("systemd"), pytest.mark.timeout(400)]

UNITS = [f"messagebroker-{name}.service" for name in NAMES]


@pytest.fixture(scope="module")
def machine(systemd_machine: Machine) -> Machine:
    systemd_machine.broker("services", "install")
    systemd_machine.broker("services", "start")
    return systemd_machine


@pytest.fixture
def running(machine: Machine) -> Machine:
    """Whatever the test before left, all roles run."""
    if machine.run("systemctl", "is-active", *UNITS, check=False).stdout.split() != ["active"] * len(UNITS):
        machine.broker("services", "start")
    return machine


def states(machine: Machine) -> dict[str, dict[str, object]]:
    said = json.loads(machine.broker("services", "status", "--json", check=False).stdout)
    assert said["home"] == "systemd"
    return {state["role"]: state for state in said["services"]}


def eventually(what: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def main_pid(machine: Machine, role: str) -> str:
    return machine.properties(f"messagebroker-{role}.service", ["MainPID"])["MainPID"]


def test_all_roles_run_and_a_message_goes_through(running: Machine) -> None:
    found = states(running)
    shown = {name: (found[name]["state"], found[name]["start_type"], found[name]["detail"]) for name in NAMES}
    assert shown == dict.fromkeys(NAMES, ("running", "automatic", "ready"))
    assert all(found[name]["since"] for name in NAMES)
    said = running.broker("smoke", "--json")
    assert json.loads(said.stdout)["ok"]


def test_installing_again_changes_nothing_and_heals_what_is_wrong(running: Machine) -> None:
    assert running.broker("services", "install").stdout == "everything is as it has to be\n"
    running.shell(
        f"chmod 644 {ROOT}/proxy/certs/proxy.key; echo MemoryMax=1M >> /etc/systemd/system/messagebroker-proxy.service;"
        " systemctl disable -q messagebroker-portal.service"
    )
    said = running.broker("services", "install").stdout
    assert f"{ROOT}/proxy/certs/proxy.key: rights corrected" in said
    assert "messagebroker-proxy.service: written" in said
    assert running.broker("services", "install").stdout == "everything is as it has to be\n"
    assert set(running.run("systemctl", "is-enabled", *UNITS).stdout.split()) == {"enabled"}


def test_systemd_finds_nothing_wrong_with_the_units(running: Machine) -> None:
    said = running.run("systemd-analyze", "verify", "messagebroker.target", *UNITS)
    assert (said.stdout.strip(), said.stderr.strip()) == ("", "")
    for unit in UNITS:
        rating = re.search(
            r"exposure level for \S+ ([\d.]+)", running.run("systemd-analyze", "security", "--no-pager", unit).stdout
        )
        assert rating
        assert float(rating[1]) < 2.0, unit


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.role)
def test_a_role_reaches_its_own_home_and_no_other(running: Machine, plan) -> None:
    pid = main_pid(running, plan.role)
    inside = f"nsenter --target {pid} --mount --setuid $(id -u {plan.account}) --setgid $(id -g {plan.account})"
    status = running.shell(f"cat /proc/{pid}/status")
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
    writable = running.shell(
        f"for path in {ROOT}/*/ {ROOT}/ /etc/ /usr/ /opt/messagebroker/ /tmp/; do"
        f' {inside} sh -c "touch $path.probe 2>/dev/null && rm $path.probe" && echo $path; done; true'
    ).split()
    backups = [f"{ROOT}/backups/"] if plan.writes_backups else []
    assert sorted(writable) == sorted([f"{ROOT}/{plan.folder}/", *backups, "/tmp/"])
    # not even root, in what the service sees of the machine, finds another's files
    seen = running.shell(f"nsenter --target {pid} --mount find {ROOT} -mindepth 2 -type f").splitlines()
    private = {"backups", *(other.folder for other in PLANS)}
    found = {path.split("/")[4] for path in seen} & private
    assert plan.folder in found
    assert found <= {plan.folder, *(["backups"] if plan.writes_backups else [])}


def test_a_killed_role_starts_again_by_itself(running: Machine) -> None:
    before = int(str(states(running)["scheduler"]["restarts"]))
    running.run("systemctl", "kill", "--signal=KILL", "messagebroker-scheduler.service")
    seen = states(running)["scheduler"]
    assert seen["state"] == "failed"
    assert "will be started again" in str(seen["detail"])
    eventually(lambda: states(running)["scheduler"]["state"] == "running")
    assert states(running)["scheduler"]["restarts"] == before + 1


def test_stop_refuses_asks_in_order_and_every_role_ends_well(running: Machine) -> None:
    refused = running.broker("services", "stop", "main", check=False)
    assert refused.returncode == 1
    assert "proxy and portal need main and still run" in refused.stderr
    said = running.broker("services", "stop").stdout.splitlines()
    assert said == [f"{name} stopped" for name in ("portal", "worker", "scheduler", "proxy", "main")]
    for unit in UNITS:
        assert running.properties(unit, ["ActiveState", "Result", "ExecMainStatus"]) == {
            "ActiveState": "inactive",
            "Result": "success",
            "ExecMainStatus": "0",
        }
    assert running.broker("services", "status", check=False).returncode == 1
    refused = running.broker("services", "start", "worker", check=False)
    assert "worker needs scheduler, which does not run" in refused.stderr
    running.broker("services", "start", "worker", "--with-dependencies")
    found = states(running)
    assert {name for name in NAMES if found[name]["state"] == "running"} == {"scheduler", "worker"}


def test_a_restart_is_one_role_after_another(running: Machine) -> None:
    before = {name: main_pid(running, name) for name in NAMES}
    said = running.broker("services", "restart", seconds=180).stdout.splitlines()
    assert said == [f"{name} restarted, ready" for name in ("main", "proxy", "scheduler", "worker", "portal")]
    assert all(main_pid(running, name) != before[name] for name in NAMES)


def test_health_says_what_is_missing(running: Machine) -> None:
    running.run("systemctl", "stop", "redis-server.service")
    try:
        eventually(lambda: "redis" in str(states(running)["proxy"]["detail"]).lower(), 20)
        assert str(states(running)["proxy"]["detail"]).startswith("not ready: ")
    finally:
        running.run("systemctl", "start", "redis-server.service")
    eventually(lambda: states(running)["proxy"]["detail"] == "ready")


def test_what_root_makes_belongs_to_main(running: Machine) -> None:
    running.broker("certs", "issue", "sensor-1")
    running.broker("certs", "revoke", "sensor-1", "--yes")
    running.broker("backup", "create")
    assert running.shell(f"find {ROOT}/main_server {ROOT}/backups ! -user messagebroker-main") == ""


def test_the_roles_start_with_the_machine(running: Machine) -> None:
    running.restart()
    eventually(lambda: all(state["detail"] == "ready" for state in states(running).values()), 90)
    assert json.loads(running.broker("smoke", "--json").stdout)["ok"]


def test_removing_leaves_everything_but_the_units(machine: Machine) -> None:
    before = machine.shell(f"find {ROOT} -type f | grep -v /logs/ | sort")
    refused = machine.run("bash", "-c", "echo n | messagebroker services uninstall", check=False, folder=ROOT)
    assert "nothing was changed" in refused.stderr
    machine.broker("services", "uninstall", "--yes")
    assert machine.shell("ls /etc/systemd/system | grep messagebroker", check=False) == ""
    assert "could not be found" in machine.run("systemctl", "status", "messagebroker-main", check=False).stderr
    assert machine.shell("pgrep -u messagebroker-main,messagebroker-proxy,messagebroker-worker", check=False) == ""
    assert machine.shell(f"find {ROOT} -type f | grep -v /logs/ | sort") == before
    assert machine.broker("services", "uninstall", "--yes").stdout == "there was nothing to remove\n"
