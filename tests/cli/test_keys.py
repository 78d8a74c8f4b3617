from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support.audit import AuditEntry
from support.installed import Installed, forget_written_keys
from typer.testing import CliRunner

from messagebroker.cli import build
from messagebroker.cli.actor import this_user
from messagebroker.db import schema
from messagebroker.db.connection import database, open_database
from messagebroker.db.models import DataKey
from messagebroker.errors import NotFound, Refused
from messagebroker.ops import backup, master_keys
from messagebroker.settings import load

PORTS = ("MAIN_SERVER_PORT", "PROXY_PORT", "PORTAL_PORT", "METRICS_PORT")


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """`rotate` takes SIGINT and SIGTERM for itself; the test run wants them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def installed(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    for name in PORTS:
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setattr(master_keys, "SETTLING", timedelta(0))
    monkeypatch.chdir(tmp_path)
    open_database(load({}, data_dir=tmp_path, environment="test"))
    schema.upgrade()
    forget_written_keys()
    yield Installed(tmp_path, redis_url=redis_url)
    if not database.is_closed():
        database.close()


def call(*words: str, **options: Any) -> Result:
    result = CliRunner().invoke(build(list(words)), list(words), **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_from_a_rotation_to_the_end_of_the_old_key(installed: Installed) -> None:
    [message] = installed.store(1)
    path = backup.create(installed.settings)
    [old] = [key["id"] for key in json.loads(call("keys", "status", "--json").stdout)["keys"]]
    assert "there is no retired master key" in call("keys", "verify").stdout
    rotated = call("keys", "rotate").stdout
    assert "is the new master key; 1 data keys were sealed to it" in rotated
    assert "make a backup now" in rotated
    shown = call("keys", "status").stdout.splitlines()
    assert [line.split()[1] for line in shown] == ["current", "retired"]
    assert call("keys", "verify").stdout == f"{old}  needed by backup {path.name}\n"
    found = json.loads(call("keys", "verify", "--json").stdout)
    assert found["free"] == []
    assert found["needs"][0]["by"] == f"backup {path.name}"
    with pytest.raises(Refused, match=f"still needed by backup {path.name}"):
        call("keys", "destroy", old, "--confirm", old)
    path.unlink()
    assert call("keys", "verify").stdout == f"{old}  needed by nobody: it can be destroyed\n"
    with pytest.raises(Refused, match="nothing was destroyed"):
        call("keys", "destroy", old, input="yes\n")
    assert f"{old} is destroyed" in call("keys", "destroy", old, input=f"{old}\n").stdout
    assert installed.body_of(message) == "a message 0"
    assert AuditEntry.get(AuditEntry.action == "keys.destroy").actor == this_user().name
    with pytest.raises(NotFound):
        call("keys", "destroy", "0123456789abcdef", "--confirm", "0123456789abcdef")


def test_resume_is_offered_and_goes_on(installed: Installed) -> None:
    installed.store(1)
    before = installed.sealer
    call("keys", "rotate", "--json")
    installed.sealer = before
    installed.store(1)  # of a call that waited: it brings the old data key
    DataKey.update(master_key_id=bytes.fromhex(json.loads(call("keys", "status", "--json").stdout)["keys"][1]["id"])).execute()
    assert "`messagebroker keys rotate --resume` moves data keys" in call("keys", "status").stdout
    with pytest.raises(Refused, match="1 data keys do not open"):  # they were only relabelled here
        call("keys", "rotate", "--resume")


def test_missing_keys_are_said(installed: Installed) -> None:
    installed.store(1)
    DataKey.update(master_key_id=b"lostlost").execute()
    assert "missing" in call("keys", "status").stdout
    with pytest.raises(Refused, match="data keys name master keys that are not here: 6c6f73746c6f7374"):
        call("keys", "verify")
