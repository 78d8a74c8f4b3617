"""Upgrades of a real systemd home under load: forward, back, and back by itself; every acknowledged message is stored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import images
from support.systemd_machine import ROOT, Machine

pytestmark = [pytest.mark.tier("systemd"), pytest.mark.timeout(400)]

SOURCES = "/usr/local/src"
RELEASES = "/opt/messagebroker"
MIGRATION = "900_colour"
ADDS_A_COLUMN = """
def migrate(migrator, database, fake=False, **words):
    migrator.sql("ALTER TABLE {table} ADD COLUMN colour VARCHAR(10) NULL")
"""
LOAD = f"""
import json, pathlib, time
from messagebroker.client import ClientError, MessageBroker

certs = pathlib.Path("{ROOT}/main_server/certs")
accepted, failed, stop = [], [], pathlib.Path("/root/stop")
with MessageBroker("https://localhost:8001", ca=certs / "ca.crt", cert=certs / "demo.crt", key=certs / "demo.key") as broker:
    while not stop.exists():
        try:
            accepted.append(broker.submit(f"message {{len(accepted)}}").message_id)
        except ClientError as error:
            failed.append(str(error))
        time.sleep(0.02)
pathlib.Path("/root/load.json").write_text(json.dumps({{"accepted": accepted, "failed": failed}}))
"""


@pytest.fixture(scope="module")
def machine(systemd_machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """With the first release running, and the sources of others."""
    for name, folder in sources(tmp_path_factory.mktemp("sources")).items():
        systemd_machine.copy(folder, f"{SOURCES}/{name}")
    systemd_machine.give_package_index()
    systemd_machine.write("/root/load.py", LOAD)
    systemd_machine.broker("services", "install")
    systemd_machine.broker("services", "start")
    return systemd_machine


def sources(folder: Path) -> dict[str, Path]:
    """This tree; one that cannot take messages; one with a migration that fails; one with a migration that works."""
    found = {name: folder / name for name in ("good", "broken", "stuck", "newer")}
    for path in found.values():
        path.mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.lock", "requirements-build.lock"):
            shutil.copy(images.ROOT / name, path)
        shutil.copytree(images.ROOT / "messagebroker", path / "messagebroker", ignore=shutil.ignore_patterns("__pycache__"))
    submit = found["broken"] / "messagebroker" / "http" / "proxy" / "submit.py"
    text = submit.read_text(encoding="utf-8")
    mark = "        environ = request.env\n"
    assert mark in text
    submit.write_text(text.replace(mark, '        raise RuntimeError("this release is broken")\n', 1), encoding="utf-8")
    for name, table in {"stuck": "no_such_table", "newer": "messages"}.items():
        migration = found[name] / "messagebroker" / "db" / "migrations" / f"{MIGRATION}.py"
        migration.write_text(ADDS_A_COLUMN.format(table=table), encoding="utf-8")
    return found


@contextmanager
def load(machine: Machine) -> Iterator[dict[str, list[str]]]:
    """A sender with the client's normal retries; afterwards what it was told is in the dictionary, and all of it is stored."""
    seen: dict[str, list[str]] = {}
    machine.shell("rm -f /root/stop /root/load.json; nohup python /root/load.py >/root/load.out 2>&1 &")
    try:
        yield seen
    finally:
        machine.shell("touch /root/stop; until [ -s /root/load.json ]; do sleep 0.2; done", seconds=90)
    seen.update(json.loads(machine.shell("cat /root/load.json")))
    assert len(seen["accepted"]) > 50, machine.shell("cat /root/load.out")
    machine.wait_until_stored(seen["accepted"])


def in_use(machine: Machine) -> str:
    return machine.shell(f"readlink {RELEASES}/current").strip()


def runs(machine: Machine, role: str) -> str:
    """The release that the role's process is of."""
    pid = machine.properties(f"messagebroker-{role}.service", ["MainPID"])["MainPID"]
    said = machine.shell(f"tr '\\0' ' ' < /proc/{pid}/cmdline")
    return said.split("/releases/")[1].split("/")[0]


def test_an_upgrade_under_load_fails_no_submit_and_loses_nothing(machine: Machine) -> None:
    with load(machine) as seen:
        said = machine.run("messagebroker", "services", "upgrade", folder=f"{SOURCES}/good", seconds=400).stdout
    assert seen["failed"] == []
    assert "a message went all the way" in said
    assert in_use(machine) != "releases/1"
    assert {runs(machine, role) for role in ("main", "proxy", "worker", "scheduler", "portal")} == {Path(in_use(machine)).name}


def test_a_release_that_cannot_take_messages_is_gone_back_from(machine: Machine) -> None:
    good = in_use(machine)
    refused = machine.run("messagebroker", "services", "upgrade", f"{SOURCES}/broken", folder=ROOT, seconds=400, check=False)
    assert refused.returncode == 1, refused.stdout
    assert "the smoke test failed" in refused.stderr
    assert "runs again, nothing is lost" in refused.stderr
    assert in_use(machine) == good
    assert runs(machine, "proxy") == Path(good).name
    assert json.loads(machine.broker("smoke", "--json").stdout)["ok"]


def test_rollback_under_load_fails_no_submit(machine: Machine) -> None:
    with load(machine) as seen:
        machine.broker("services", "rollback", seconds=200)
    assert seen["failed"] == []
    assert in_use(machine) == "releases/1"
    assert runs(machine, "proxy") == "1"


def test_a_source_that_is_none_is_refused_before_anything_is_made(machine: Machine) -> None:
    before = machine.shell(f"ls {RELEASES}/releases")
    refused = machine.run("messagebroker", "services", "upgrade", "/root", check=False)
    assert "/root has no pyproject.toml" in refused.stderr
    assert machine.shell(f"ls {RELEASES}/releases") == before


def test_a_migration_that_fails_leaves_the_database_and_the_release_as_they_were(machine: Machine) -> None:
    before = in_use(machine)
    with load(machine) as seen:
        refused = machine.run("messagebroker", "services", "upgrade", folder=f"{SOURCES}/stuck", seconds=400, check=False)
    assert refused.returncode == 1, refused.stdout
    assert "backed up to" in refused.stdout
    assert "could not change the database, which is as it was" in refused.stderr
    assert seen["failed"] == []
    assert in_use(machine) == before
    assert runs(machine, "worker") == Path(before).name
    assert json.loads(machine.broker("db", "status", "--json").stdout)["unknown"] == []


def test_an_upgrade_with_a_migration_fails_no_submit_and_its_backup_leads_back(machine: Machine) -> None:
    """Proxies go on accepting while the roles that use the database stand still; then the way back that the refusal names."""
    before = in_use(machine)
    with load(machine) as seen:
        said = machine.run("messagebroker", "services", "upgrade", folder=f"{SOURCES}/newer", seconds=400).stdout
    assert seen["failed"] == []
    assert machine.shell("mariadb -N message_system -e \"SHOW COLUMNS FROM messages LIKE 'colour'\"")
    refused = machine.broker("services", "rollback", check=False)
    assert refused.returncode == 1
    assert f"does not know {MIGRATION}" in refused.stderr
    backup = said.split("backed up to ")[1].splitlines()[0]
    machine.broker("services", "rollback", "--yes", "--restore", backup, seconds=200)
    assert not machine.shell("mariadb -N message_system -e \"SHOW COLUMNS FROM messages LIKE 'colour'\"")
    assert in_use(machine) == before
    assert json.loads(machine.broker("smoke", "--json").stdout)["ok"]
