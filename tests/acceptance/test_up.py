"""`messagebroker up` as a person uses it: a process, its output, signals."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.servers import free_port

from messagebroker.roles import NAMES, ROLES
from messagebroker.settings import Settings

pytestmark = [pytest.mark.tier("processes"), pytest.mark.timeout(180)]
READY_SECONDS = 15.0  # promised, after installation


class Up:
    """One `messagebroker up` in a folder."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        kept = {
            key: value for key, value in os.environ.items() if key.lower().removesuffix("_file") not in Settings.model_fields
        }
        self.environment = {**kept, **variables}
        self.output = folder / "output.txt"
        with self.output.open("wb") as output:
            self.process = psutil.Popen(
                [sys.executable, "-m", "messagebroker", "up"],
                cwd=folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.began = time.monotonic()

    @property
    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def wait_until_ready(self) -> float:
        while "Stop with Ctrl-C" not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() - self.began < 60, self.said
            time.sleep(0.05)
        return time.monotonic() - self.began

    def family(self) -> list[psutil.Process]:
        return list(self.process.children(recursive=True))

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """A command in the next terminal."""
        words = shlex.split(command)
        if words[0] == "messagebroker":
            words[:1] = [sys.executable, "-m", "messagebroker"]
        elsewhere = self.folder if words[0] != "curl" else Path("/")  # curl's line works anywhere
        return subprocess.run(words, cwd=elsewhere, env=self.environment, capture_output=True, text=True, timeout=60)

    def end(self) -> None:
        if self.process.poll() is None:
            family = self.family()
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(90)
            except psutil.TimeoutExpired:
                for one in (self.process, *family):
                    one.kill()
                raise


@pytest.fixture
def variables() -> dict[str, str]:
    """Free ports instead of the usual ones."""
    return {role.port_setting.upper(): str(free_port()) for role in ROLES if role.port_setting}


@pytest.fixture
def up(tmp_path: Path, variables: dict[str, str]) -> Iterator[Up]:
    running = Up(tmp_path, **variables)
    yield running
    running.end()


def test_from_nothing_to_a_stored_message(up: Up) -> None:
    seconds = up.wait_until_ready()
    assert seconds < READY_SECONDS, f"ready after {seconds:.1f} s"
    assert len(re.findall(r"one-time password (\S+)", up.said)) == 1
    assert len(re.findall(r"recovery key  (\S+)", up.said)) == 1
    curl = next(line for line in up.said.splitlines() if line.strip().startswith("curl "))
    answer = up.run(curl)
    assert '"status":"queued"' in answer.stdout.replace(" ", ""), answer.stderr
    smoke = up.run("messagebroker smoke")
    assert smoke.returncode == 0, smoke.stdout + smoke.stderr
    assert "stored and retrieved" in smoke.stdout


def test_ctrl_c_stops_the_roles_in_reverse_order_and_leaves_nothing(up: Up) -> None:
    up.wait_until_ready()
    family = up.family()
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0
    assert up.said.rstrip().endswith("stopped"), "a child had to be killed"
    assert not [one for one in family if one.is_running()]
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
    _, alive = psutil.wait_procs(family, timeout=90)
    assert not alive, alive

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


def test_a_role_that_cannot_start_ends_up_with_its_reason(tmp_path: Path, variables: dict[str, str]) -> None:
    certs = tmp_path / "messagebroker-data" / "certs"
    certs.mkdir(parents=True)
    (certs / "proxy.crt").write_text("not a certificate", encoding="utf-8")
    broken = Up(tmp_path, **variables)
    try:
        assert broken.process.wait(60) == 4
    finally:
        broken.end()
    assert "proxy ended while starting" in broken.said
    assert "proxy.key" in broken.said
    assert "one-time password" in broken.said, "what was made is shown even when the start fails"


def test_production_is_refused_with_the_reason(tmp_path: Path, variables: dict[str, str]) -> None:
    refused = Up(tmp_path, **variables, ENVIRONMENT="production")
    assert refused.process.wait(30) == 3
    assert "each role as a service of its own" in refused.said
