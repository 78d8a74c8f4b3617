"""Restoring the database alone, to the keys that are here: what going back from an upgrade needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.installed import Installed, count, forget_written_keys, quiet

from messagebroker.db import schema
from messagebroker.db.connection import open_database
from messagebroker.errors import Refused
from messagebroker.ops import backup, keyring, ports
from messagebroker.ops.ports import Holder
from messagebroker.ops.restore import restore


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    return made(tmp_path)


def made(folder: Path) -> Installed:
    forget_written_keys()
    open_database(quiet(folder))
    schema.upgrade()
    return Installed(folder)


def test_it_needs_no_recovery_key_and_touches_no_file(installed: Installed) -> None:
    [message_id] = installed.store(1, "kept")
    path = backup.create(installed.settings)
    keyring.create_master_key(installed.settings)
    ring = installed.settings.path(installed.settings.encryption_key_path)
    before = ring.read_bytes()
    (installed.settings.data_dir / "ca" / "ca.crt").unlink()
    installed.store(2)
    done = restore(installed.settings, path, None)
    assert done.files_aside is None
    assert not [note for note in done.notes if "cannot be read" in note]
    assert done.database_aside is not None
    assert ring.read_bytes() == before
    assert not (installed.settings.data_dir / "ca" / "ca.crt").exists()
    assert installed.body_of(message_id) == "kept 0"
    assert count() == 1


def test_what_the_keys_here_cannot_open_is_said(tmp_path: Path) -> None:
    first = made(tmp_path / "first")
    first.store(1)
    path = backup.create(first.settings)
    second = made(tmp_path / "second")
    done = restore(second.settings, path, None)
    [note] = [note for note in done.notes if "master keys" in note]
    assert "cannot be read, as these are not here; a restore with the recovery key brings them back" in note
    second.settings.path(second.settings.encryption_key_path).unlink()
    assert any("no message can be read" in note for note in restore(second.settings, path, None).notes)


def test_proxies_may_go_on_and_main_may_not(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    path = backup.create(installed.settings)
    settings = installed.settings.model_copy(update={"proxy_port": 18001, "main_server_port": 18000})
    holders = {18001: Holder(7, "python", "proxy")}
    monkeypatch.setattr(ports, "holder", holders.get)
    restore(settings, path, None)
    holders[18000] = Holder(8, "python", "main")
    with pytest.raises(Refused, match=r"main on .* still run"):
        restore(settings, path, None)
