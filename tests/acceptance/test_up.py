"""`messagebroker up` as a person uses it: a process, its output, signals."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import survivors
from support.servers import free_port
from support.up import Up

from messagebroker.roles import BY_NAME, NAMES, ROLES

pytestmark = [pytest.mark.tier("processes"), pytest.mark.timeout(180)]
READY_SECONDS = 15.0  # promised, after installation


@pytest.fixture
def variables() -> dict[str, str]:
    """Free ports instead of the usual ones."""
    return {role.port_setting.upper(): str(free_port()) for role in ROLES if role.port_setting}


@pytest.fixture
def up(tmp_path: Path, variables: dict[str, str]) -> Iterator[Up]:
    running = Up(tmp_path, **variables)
    yield running
    running.end()


def test_from_nothing_to_a_stored_message(up: Up, variables: dict[str, str]) -> None:
    seconds = up.wait_until_ready()
    assert seconds < READY_SECONDS, f"ready after {seconds:.1f} s"
    assert len(re.findall(r"one-time password (\S+)", up.said)) == 1
    assert len(re.findall(r"recovery key  (\S+)", up.said)) == 1
    curl = next(line for line in up.said.splitlines() if line.strip().startswith("curl "))
    answer = up.run(curl)
    assert '"status":"queued"' in answer.stdout.replace(" ", ""), answer.stderr
    printed = next(line for line in up.said.splitlines() if " smoke --url " in line)
    for command in (printed, "messagebroker smoke"):
        smoke = up.run(command)
        assert smoke.returncode == 0, smoke.stdout + smoke.stderr
        assert "stored and retrieved" in smoke.stdout
    for role in ("main", "portal"):
        address = f"https://localhost:{variables[BY_NAME[role].port_setting.upper()]}"
        smoke = up.run(f"messagebroker smoke --url {address}")
        assert smoke.returncode == 1
        assert f"{address} is no proxy: {role} answers there" in smoke.stdout
        assert len(smoke.stdout.splitlines()) == 1


def test_ctrl_c_stops_the_roles_in_reverse_order_and_leaves_nothing(up: Up) -> None:
    up.wait_until_ready()
    family = up.family()
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0
    assert up.said.rstrip().endswith("stopped"), "a child had to be killed"
    assert not survivors(family, 0)
    logs = up.folder / "messagebroker-data" / "logs"
    ends = {role.name: _time_of_last(logs / role.log_file, "role stopped") for role in ROLES}
    assert sorted(ends, key=lambda name: ends[name]) == list(reversed(NAMES))


def _time_of_last(log: Path, event: str) -> str:
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if f'"event": "{event}"' in line]
    match = re.search(r'"timestamp": "([^"]+)"', lines[-1])
    assert match
    return match[1]


def test_kill_9_leaves_no_orphans_and_the_next_start_reuses_everything(tmp_path: Path, variables: dict[str, str]) -> None:
    first = Up(tmp_path, **variables)
    first.wait_until_ready()
    certificate = (tmp_path / "messagebroker-data" / "certs" / "proxy.crt").read_bytes()
    assert first.run("messagebroker smoke").returncode == 0
    family = first.family()
    assert len(family) >= len(NAMES) + 2  # the roles, Redis and its keeper
    first.process.kill()
    first.process.wait()
    assert not survivors(family, 90)

    second = Up(tmp_path, **variables)
    try:
        second.wait_until_ready()
        assert "one-time password" not in second.said
        assert "recovery key" not in second.said
        assert (tmp_path / "messagebroker-data" / "certs" / "proxy.crt").read_bytes() == certificate
        assert second.run("messagebroker smoke").returncode == 0
    finally:
        second.end()


def test_a_role_that_is_killed_comes_back(up: Up) -> None:
    up.wait_until_ready()
    proxy = next(one for one in up.family() if one.cmdline()[-3:-1] == ["run", "proxy"])
    proxy.kill()
    deadline = time.monotonic() + 30
    while up.run("messagebroker smoke").returncode != 0:
        assert time.monotonic() < deadline, up.said
        time.sleep(0.5)
    assert "proxy ended (exit code -9); it starts again in 1 s" in up.said


def test_a_second_up_names_the_ports_and_who_holds_them(up: Up, variables: dict[str, str]) -> None:
    up.wait_until_ready()
    (up.folder / "other").mkdir()
    other = Up(up.folder / "other", **variables)
    assert other.process.wait(30) == 1
    for role in ROLES:
        if role.port_setting:
            port = variables[role.port_setting.upper()]
            assert f"port {port} of {role.name} is taken by messagebroker run {role.name} (pid " in other.said
            assert role.port_setting.upper() in other.said
    assert not (up.folder / "other" / "messagebroker-data").exists()


def test_a_second_up_on_the_same_data_is_refused_whatever_its_ports(up: Up) -> None:
    up.wait_until_ready()
    ports = {role.port_setting.upper(): str(free_port()) for role in ROLES if role.port_setting}
    other = Up(up.folder, **ports, output="other.txt")
    assert other.process.wait(40) == 1
    assert "another `messagebroker up` runs in" in other.said
    assert up.run("messagebroker smoke").returncode == 0, "the first one goes on"


def test_a_role_that_cannot_start_ends_up_with_its_reason(tmp_path: Path, variables: dict[str, str]) -> None:
    key = tmp_path / "messagebroker-data" / "secrets" / "sender.key"
    key.parent.mkdir(parents=True)
    key.write_bytes(b"")
    broken = Up(tmp_path, **variables)
    try:
        assert broken.process.wait(60) == 4
    finally:
        broken.end()
    assert "ended while starting" in broken.said, "main and proxy have this key, whichever is first"
    assert "sender.key is empty" in broken.said
    assert "one-time password" in broken.said, "what was made is shown even when the start fails"


def test_production_is_refused_with_the_reason(tmp_path: Path, variables: dict[str, str]) -> None:
    refused = Up(tmp_path, **variables, ENVIRONMENT="production")
    assert refused.process.wait(30) == 3
    assert "each role as a service of its own" in refused.said
