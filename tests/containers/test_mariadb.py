"""The MariaDB overlay, and volumes that are full."""

from __future__ import annotations

import time

import pytest
from support.containers import HOME, Project, as_json, until
from support.images import docker
from support.installation import ClientFiles
from support.load import Load

pytestmark = [pytest.mark.tier("containers"), pytest.mark.timeout(300)]


def test_the_system_runs_on_mariadb(other: Project) -> None:
    assert "MariaDB" in other.sql("SELECT VERSION()")[0][0]
    smoke = as_json(other.run("main", "messagebroker", "smoke", "--json"))
    assert smoke["ok"], smoke


def test_a_backup_is_made_on_mariadb(other: Project) -> None:
    assert as_json(other.run("main", "messagebroker", "backup", "create", "--json"))["path"].endswith(".zip")


def test_when_redis_disk_is_full_nothing_is_acknowledged_and_nothing_that_was_is_lost(
    other: Project, other_sender: ClientFiles
) -> None:
    with Load(other, other_sender) as load:
        load.wait_for(50)
        fill(other, "/redis")
        until(lambda: other.says("proxy", "redis"), 60, lambda: other.health("proxy"))
        acknowledged = len(load.accepted)
        time.sleep(2)
        assert len(load.accepted) == acknowledged
        other.run("holder", "rm", "/redis/filler")
        other.wait_until_healthy("redis", "proxy", seconds=120)
        load.wait_for(20, seconds=60)
    load.require_stored(90)


def test_when_the_databases_disk_is_full_it_is_said_and_what_was_acknowledged_is_stored_after(
    other: Project, other_sender: ClientFiles
) -> None:
    """Proxies go on. MariaDB may answer every question still, so that only the workers can know, or a rollback finds no room:
    then InnoDB ends the server, again and again until there is some."""

    def ends() -> int:
        return int(other.state(other.container("mysql"))["RestartCount"])

    def said() -> bool:
        return other.says("worker", "is full") or (ends() > before and other.says("worker", "does not answer"))

    before = ends()
    with Load(other, other_sender, size=20_000) as load:
        load.wait_for(50)
        fill(other, "/mysql")
        try:
            until(said, 90, lambda: other.health("worker"))
            load.wait_for(50)
            assert other.health("proxy")[0] == "healthy"
        finally:
            other.run("holder", "rm", "/mysql/filler")
        other.wait_until_healthy("mysql", "worker", seconds=120)
    assert load.failed == []
    load.require_stored(90)


def test_a_backup_on_a_full_disk_says_so_and_leaves_no_half_of_one(other: Project) -> None:
    before = other.run("main", "ls", "-A", f"{HOME}/backups")
    fill(other, "/backups")
    try:
        answer = other.try_compose("exec", "-T", "main", "messagebroker", "backup", "create")
        doctor = other.try_compose("exec", "-T", "main", "messagebroker", "doctor")
    finally:
        other.run("holder", "rm", "/backups/filler")
    assert (answer.returncode, "no room for backup_" in answer.stderr) == (1, True), answer.stderr
    assert "Traceback" not in answer.stderr
    assert f"BACKUP_DIR {HOME}/backups: 0.0 GiB free" in doctor.stdout, doctor.stdout
    assert other.run("main", "ls", "-A", f"{HOME}/backups") == before


def fill(project: Project, folder: str) -> None:
    """To the last byte."""
    for size, count in (("64k", ""), ("1", "count=65536")):
        more = f"dd if=/dev/zero bs={size} {count} conv=notrunc oflag=append of={folder}/filler 2>/dev/null; true"
        docker("exec", project.container("holder"), "sh", "-c", more)
