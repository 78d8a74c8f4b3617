"""An installation made by `messagebroker setup`, in production: every role runs from its own home, and a message passes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.servers import MariaDB, Redis, free_port

from messagebroker.ops import homes
from messagebroker.roles import BY_NAME, ROLES
from messagebroker.settings import Settings

pytestmark = [pytest.mark.tier("processes"), pytest.mark.timeout(180)]
PASSWORD = "k3Jd82hs"


class Homes:
    """ROOT, and commands in it as operators and service managers call them: with nothing in the environment but the home."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def command(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "messagebroker", *words],
            cwd=self.root, env=self._environment(**variables), stdin=subprocess.DEVNULL,
            capture_output=True, encoding="utf-8", timeout=90,
        )  # fmt: skip

    def start(self, name: str) -> None:
        (home,) = (home for home in homes.homes(self.root) if home.role.name == name)
        with open(self.root / f"{name}.stderr", "ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "messagebroker", *home.role.command, "--supervised"],
                cwd=self.root, env=self._environment(**home.environment), stdin=subprocess.PIPE, stdout=log, stderr=log,
            )  # fmt: skip

    def stop(self) -> None:
        for name, process in reversed(self.running.items()):
            assert process.stdin is not None
            process.stdin.close()
            process.wait(BY_NAME[name].stop_seconds + 5)

    def _environment(self, **variables: str) -> dict[str, str]:
        kept = {
            key: value for key, value in os.environ.items() if key.lower().removesuffix("_file") not in Settings.model_fields
        }
        return {**kept, **variables}


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, mariadb_server: MariaDB, redis: Redis) -> Iterator[Homes]:
    made = Homes(tmp_path_factory.mktemp("installation"))
    ports = "".join(f"{name}={free_port()}\n" for name in ("MAIN_SERVER_PORT", "PROXY_PORT", "PORTAL_PORT", "METRICS_PORT"))
    url = mariadb_server.fresh_user("homes", PASSWORD)
    text = f"ENVIRONMENT=production\n{ports}DATABASE_URL={url}\nREDIS_URL={redis.url}\nMAIN_SERVER_URL=https://localhost:"
    (made.root / ".env").write_text(f"{text}{ports.splitlines()[0].partition('=')[2]}\n", encoding="utf-8")
    ended = made.command("setup", "--root", str(made.root))
    assert ended.returncode == 0, ended.stderr
    try:
        for role in ROLES:
            made.start(role.name)
        yield made
    finally:
        made.stop()


def test_every_role_becomes_ready_and_a_message_passes(installation: Homes) -> None:
    health = installation.command("health", "--wait", "60", "--json")
    assert health.returncode == 0, health.stdout + health.stderr
    assert {role["role"] for role in json.loads(health.stdout)["roles"]} == set(BY_NAME)
    smoke = installation.command("smoke", PROXY_URL=f"https://localhost:{_setting(installation, 'PROXY_PORT')}",
                                 PORTAL_URL=f"https://localhost:{_setting(installation, 'PORTAL_PORT')}")  # fmt: skip
    assert smoke.returncode == 0, smoke.stdout + smoke.stderr
    assert "stored and retrieved" in smoke.stdout


def test_each_role_asks_for_its_own_health_from_its_own_home(installation: Homes) -> None:
    for home in homes.homes(installation.root):
        asked = installation.command("health", home.role.name, "--wait", "60", **home.environment)
        assert asked.returncode == 0, asked.stdout


def test_the_password_is_only_where_it_may_be(installation: Homes) -> None:
    found = {
        path.relative_to(installation.root).as_posix()
        for path in installation.root.rglob("*")
        if path.is_file() and PASSWORD.encode() in path.read_bytes()
    }
    assert found == {f"{role.folder}/.env" for role in ROLES if "DATABASE_URL" in role.variables}


def test_a_role_that_is_cut_off_says_what_it_misses(installation: Homes, redis: Redis) -> None:
    assert installation.command("health", "proxy", "--wait", "60").returncode == 0
    redis.pause()
    try:
        found = {name: _unhealthy(installation, name) for name in ("proxy", "worker")}
    finally:
        redis.resume()
    for name, said in found.items():
        assert "redis" in said.lower(), (name, said)
    assert installation.command("health", "--wait", "60").returncode == 0


def test_a_database_that_hangs_is_named_by_those_who_need_it(installation: Homes, mariadb_server: MariaDB) -> None:
    assert installation.command("health", "--wait", "60").returncode == 0
    mariadb_server.pause()
    try:
        said = {name: _unhealthy(installation, name) for name in ("main", "worker", "scheduler")}
        assert installation.command("health", "proxy").returncode == 0, "it goes on taking messages in"
    finally:
        mariadb_server.resume()
    for text in said.values():
        assert "database" in text.partition(": ")[2], text
    assert installation.command("health", "--wait", "60").returncode == 0


def test_a_role_that_ended_is_unhealthy(installation: Homes) -> None:
    scheduler = installation.running.pop("scheduler")
    assert scheduler.stdin is not None
    scheduler.stdin.close()
    scheduler.wait(BY_NAME["scheduler"].stop_seconds)
    ended = installation.command("health", "scheduler")
    assert ended.returncode == 1
    assert "no heartbeat from" in ended.stdout
    installation.start("scheduler")
    assert installation.command("health", "scheduler", "--wait", "30").returncode == 0


def _unhealthy(installation: Homes, name: str) -> str:
    """What it says once it is; a proxy goes on for five seconds with what it knows."""
    deadline = time.monotonic() + 15
    while (ended := installation.command("health", name)).returncode == 0:
        assert time.monotonic() < deadline, f"{name} stays ready"
    return ended.stdout


def _setting(installation: Homes, name: str) -> str:
    lines = (installation.root / ".env").read_text(encoding="utf-8").splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith(f"{name}="))
