"""A backup made by main in its container, and brought back, with the image's own dump programs against MySQL."""

from __future__ import annotations

import pytest
from support.containers import HOME, Project, as_json
from support.installation import ClientFiles
from support.load import Load

pytestmark = [pytest.mark.tier("containers"), pytest.mark.timeout(240)]


def test_a_backup_brings_back_what_was_there_and_nothing_newer(system: Project, sender: ClientFiles, recovery_key: str) -> None:
    with Load(system, sender) as load:
        load.wait_for(30)
    load.require_stored()
    rows = system.sql("SELECT COUNT(*) FROM messages")
    name = as_json(system.run("main", "messagebroker", "backup", "create", "--json"))["path"].rpartition("/")[2]
    assert system.run("main", "ls", f"{HOME}/backups").split() == [name]
    with Load(system, sender) as newer:
        newer.wait_for(10)
    newer.require_stored()
    system.compose("stop", "proxy", "worker", "scheduler", "portal", "main", seconds=90)
    try:
        words = ("run", "--rm", "--no-deps", "-T", "main", "backup", "restore", name, "--yes", "--recovery-key-file=-")
        system.compose(*words, seconds=120, given=f"{recovery_key}\n")
    finally:
        system.up()
    assert system.sql("SELECT COUNT(*) FROM messages") == rows
    with Load(system, sender) as after:
        after.wait_for(10)
    after.require_stored()
