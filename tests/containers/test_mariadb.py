"""The MariaDB overlay, and volumes that are full."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.containers import HOME, Project, as_json, until
from support.images import Images, docker, servers
from support.installation import ClientFiles
from support.load import Load

pytestmark = [pytest.mark.tier("containers"), pytest.mark.timeout(300)]
SMALL_VOLUMES = Path(__file__).parent / "small_volumes.yaml"


@pytest.fixture(scope="module")
def small(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with Project(
        "small", images, tmp_path_factory.mktemp("small"), "compose.mariadb.yaml", SMALL_VOLUMES, **servers("MARIADB_IMAGE")
    ) as project:
        yield project.up()


@pytest.fixture(scope="module")
def small_sender(small: Project) -> ClientFiles:
    return small.client("sender")


def test_the_system_runs_on_mariadb(small: Project) -> None:
    assert "MariaDB" in small.sql("SELECT VERSION()")[0][0]
    smoke = as_json(small.run("main", "messagebroker", "smoke", "--json"))
    assert smoke["ok"], smoke


def test_a_backup_is_made_on_mariadb(small: Project) -> None:
    assert as_json(small.run("main", "messagebroker", "backup", "create", "--json"))["path"].endswith(".zip")


def test_when_redis_disk_is_full_nothing_is_acknowledged_and_nothing_that_was_is_lost(
    small: Project, small_sender: ClientFiles
) -> None:
    with Load(small, small_sender) as load:
        load.wait_for(50)
        fill(small, "/redis")
        until(lambda: load.failed, 60)
        status, said = "", ""
        until(lambda: small.health("proxy")[0] == "unhealthy", 60, lambda: small.health("proxy"))
        status, said = small.health("proxy")
        assert (status, "redis" in said.lower()) == ("unhealthy", True), said
        acknowledged = len(load.accepted)
        time.sleep(2)
        assert len(load.accepted) == acknowledged
        small.run("holder", "rm", "/redis/filler")
        small.wait_until_healthy("redis", "proxy", seconds=120)
        load.wait_for(20, seconds=60)
    load.require_stored(90)


def test_a_backup_on_a_full_disk_says_so_and_leaves_no_half_of_one(small: Project) -> None:
    before = small.run("main", "ls", "-A", f"{HOME}/backups")
    fill(small, "/backups")
    try:
        answer = small.try_compose("exec", "-T", "main", "messagebroker", "backup", "create")
        doctor = small.try_compose("exec", "-T", "main", "messagebroker", "doctor")
    finally:
        small.run("holder", "rm", "/backups/filler")
    assert (answer.returncode, "no room for backup_" in answer.stderr) == (1, True), answer.stderr
    assert "Traceback" not in answer.stderr
    assert f"BACKUP_DIR {HOME}/backups: 0.0 GiB free" in doctor.stdout, doctor.stdout
    assert small.run("main", "ls", "-A", f"{HOME}/backups") == before


def fill(project: Project, folder: str) -> None:
    """To the last byte."""
    for size, count in (("64k", ""), ("1", "count=65536")):
        more = f"dd if=/dev/zero bs={size} {count} conv=notrunc oflag=append of={folder}/filler 2>/dev/null; true"
        docker("exec", project.container("holder"), "sh", "-c", more)
