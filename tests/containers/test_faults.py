"""What goes wrong, done to real containers under load: nothing acknowledged is lost, and health names the cause."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.containers import Project, until
from support.images import docker
from support.installation import ClientFiles
from support.load import Load

from messagebroker.client import NEVER

pytestmark = [pytest.mark.tier("containers"), pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _afterwards(system: Project) -> Iterator[None]:
    yield
    system.wait_until_healthy()


@pytest.fixture
def urls(system: Project) -> tuple[str, str]:
    return system.url("proxy", 1), system.url("proxy", 2)


def kill_all_of(container: str) -> None:
    """kill -9 of every process in it, from outside: unlike `docker kill` the engine takes it for a crash."""
    for pid in processes(container):
        with suppress(ProcessLookupError):  # its parent was first
            os.kill(pid, signal.SIGKILL)


def processes(container: str) -> list[int]:
    return [int(pid) for pid in docker("top", container, "-eo", "pid").split()[1:]]


def test_a_killed_worker_comes_back_and_the_others_take_over(
    system: Project, sender: ClientFiles, urls: tuple[str, str]
) -> None:
    before = {name: system.state(name)["RestartCount"] for name in system.containers("worker")}
    with Load(system, sender, *urls) as load:
        load.wait_for(50)
        for name in before:
            kill_all_of(name)
            load.wait_for(20)
    until(lambda: all(system.state(name)["RestartCount"] > count for name, count in before.items()), 30)
    load.require_stored(60)
    assert load.failed == []


def test_while_redis_is_paused_nothing_is_acknowledged_and_after_it_all_is_well(
    system: Project, sender: ClientFiles, urls: tuple[str, str]
) -> None:
    redis = system.container("redis")
    with Load(system, sender, *urls) as load:
        load.wait_for(50)
        docker("pause", redis)
        try:
            time.sleep(1.5)  # what was under way when it stopped
            acknowledged = len(load.accepted)
            for role in ("proxy", "worker", "scheduler"):
                until(lambda role=role: system.says(role, "redis"), 60, lambda role=role: system.health(role))
            assert len(load.accepted) == acknowledged
        finally:
            docker("unpause", redis)
        load.wait_for(50, seconds=60)
    load.require_stored(60)


def test_a_killed_redis_comes_back_with_every_message_that_waited(
    system: Project, sender: ClientFiles, urls: tuple[str, str]
) -> None:
    """The whole queue is in its append-only file then, and in no worker's hands."""
    workers = system.containers("worker")
    docker("stop", *workers, seconds=200)
    try:
        with Load(system, sender, *urls) as load:
            load.wait_for(100)
        waiting = {row[0] for row in system.sql("SELECT LOWER(HEX(id)) FROM messages")}
        assert not waiting & {one.replace("-", "") for one in load.accepted}
        restarts = system.state(system.container("redis"))["RestartCount"]
        kill_all_of(system.container("redis"))
        until(lambda: system.state(system.container("redis"))["RestartCount"] > restarts, 30)
    finally:
        docker("start", *workers)
    load.require_stored(90)
    assert "AOF-loading-client" not in docker("logs", system.container("redis"))


def test_without_the_database_proxies_go_on_and_the_backlog_drains_after(
    system: Project, sender: ClientFiles, urls: tuple[str, str]
) -> None:
    with Load(system, sender, *urls) as load:
        load.wait_for(50)
        with system.disconnected("mysql", "data"):
            load.wait_for(300, seconds=60)
            for role in ("main", "worker", "scheduler"):
                until(lambda role=role: system.says(role, "database", "mysql"), 60, lambda role=role: system.health(role))
            assert system.health("proxy")[0] == "healthy"
        load.wait_for(50)
    assert load.failed == []
    load.require_stored(90)


def test_a_proxy_that_is_cut_off_from_redis_says_so_and_the_other_works(
    system: Project, sender: ClientFiles, urls: tuple[str, str]
) -> None:
    with Load(system, sender, urls[1]) as other:
        other.wait_for(20)
        with system.disconnected("proxy", "queue"), Load(system, sender, urls[0], retry=NEVER) as cut_off:
            until(lambda: system.says("proxy", "redis"), 60, lambda: system.health("proxy"))
            until(lambda: cut_off.failed, 60)
            assert cut_off.accepted == []
            other.wait_for(20)
            assert system.health("proxy", 2)[0] == "healthy"
    assert all("503" in text or "redis-unavailable" in text for text in cut_off.failed), cut_off.failed
    assert other.failed == []
    system.wait_until_healthy("proxy")
    with Load(system, sender, urls[0]) as again:
        again.wait_for(20, seconds=60)
    other.require_stored()
    again.require_stored()


def test_a_worker_that_was_killed_for_its_memory_is_started_again(
    system: Project, sender: ClientFiles, urls: tuple[str, str]
) -> None:
    container = system.container("worker")
    before = system.state(container)["RestartCount"]
    with Load(system, sender, *urls) as load:
        load.wait_for(50)
        for pid in processes(container):  # the kernel takes the role, not the one that is greedy
            Path(f"/proc/{pid}/oom_score_adj").write_text("1000", encoding="ascii")
        greedy = "import time\nkept = [bytearray(b'x' * 2**20) for _ in range(4096)]\ntime.sleep(60)"
        system.try_compose("exec", "-T", "--index=1", "worker", "python", "-c", greedy, seconds=60)
        until(lambda: system.state(container)["RestartCount"] > before, 60, lambda: system.state(container))
        load.wait_for(50)
    kernel = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
    number = docker("inspect", "--format", "{{.Id}}", container).strip()
    assert [line for line in kernel.splitlines() if "oom-kill" in line and number in line and "task=messagebroker" in line]
    assert load.failed == []
    load.require_stored(90)
