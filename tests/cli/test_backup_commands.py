from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support.installed import Installed, count, forget_written_keys
from typer.testing import CliRunner

from messagebroker.cli import build
from messagebroker.db import schema
from messagebroker.db.connection import database, open_database
from messagebroker.errors import BrokerError, NotFound, Refused
from messagebroker.ops import backup
from messagebroker.settings import load

PORTS = ("MAIN_SERVER_PORT", "PROXY_PORT", "PORTAL_PORT", "METRICS_PORT")


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """`cleanup` takes SIGINT and SIGTERM for itself; the test run wants them back."""
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


def test_create_list_verify_and_restore(installed: Installed, tmp_path: Path) -> None:
    installed.store(3)
    made = json.loads(call("backup", "create", "--json").stdout)
    assert made["rows"]["messages"] == 3
    name = Path(made["path"]).name
    listed = json.loads(call("backup", "list", "--json").stdout)
    assert [(one["name"], one["problem"], one["rows"]["messages"]) for one in listed] == [(name, None, 3)]
    assert name in call("backup", "list").stdout
    assert "good:" in call("backup", "verify", name).stdout
    installed.store(2)
    said = call("backup", "restore", name, input=f"{installed.recovery_key}\ny\n").stdout
    assert "messages: 5 now, 3 in the backup" in said
    assert "kept      the database as it was" in said
    assert count() == 3


def test_the_recovery_key_comes_from_a_file_too(installed: Installed, tmp_path: Path) -> None:
    path = backup.create(installed.settings)
    installed.store(1)
    key = tmp_path / "key.txt"
    key.write_text(installed.recovery_key + "\n", encoding="utf-8")
    call("backup", "restore", str(path), "--recovery-key-file", str(key), "--yes")
    assert count() == 0
    call("backup", "restore", path.name, "--recovery-key-file", "-", "--yes", input=installed.recovery_key)


def test_a_recovery_key_file_that_cannot_be_read_is_named_once(installed: Installed, tmp_path: Path) -> None:
    path = backup.create(installed.settings)
    missing = tmp_path / "key.txt"
    with pytest.raises(BrokerError) as caught:
        call("backup", "restore", str(path), "--recovery-key-file", str(missing), "--yes")
    assert str(caught.value) == f"cannot read the recovery key from {missing}: No such file or directory"
    missing.write_bytes(b"\xff\xfe")
    with pytest.raises(BrokerError, match="it is no text"):
        call("backup", "restore", str(path), "--recovery-key-file", str(missing), "--yes")


def test_no_means_no(installed: Installed) -> None:
    path = backup.create(installed.settings)
    installed.store(1)
    with pytest.raises(Refused, match="nothing was changed"):
        call("backup", "restore", path.name, input=f"{installed.recovery_key}\nn\n")
    assert count() == 1


def test_an_unknown_backup(installed: Installed) -> None:
    with pytest.raises(NotFound, match="backup list"):
        call("backup", "restore", "backup_20300101_000000.zip")
    assert "no backups yet" in call("backup", "list").stdout


def test_cleanup(installed: Installed) -> None:
    from datetime import timedelta

    from messagebroker.ops import clock, ids

    moment = clock.now() - timedelta(days=10)
    for number in range(3):
        installed.store(1, id=ids.floor(moment)[:8] + number.to_bytes(8, "big"), accepted_at=clock.micros(moment))
    said = json.loads(call("cleanup", "--days", "5", "--dry-run", "--json").stdout)
    assert said == {"dry_run": True, "messages": {"delivered": 3}, "data_keys": 0}
    assert "would remove 3 messages older than 5 days (3 delivered)" in call("cleanup", "--days", "5", "--dry-run").stdout
    assert count() == 3
    assert "removed 0 messages older than 90 days" in call("cleanup").stdout
    assert "removed 3 messages" in call("cleanup", "--days", "5").stdout
    assert count() == 0
    assert call("cleanup", "--days", "0").exit_code == 2


def test_doctor_prints_a_line_each_and_fails_on_errors(installed: Installed, tmp_path: Path) -> None:
    result = call("doctor", "--json")
    found = json.loads(result.stdout)
    assert {"settings", "disk", "ports", "secrets", "certificates", "redis", "database", "clock", "backups"} == {
        finding["check"] for finding in found
    }
    assert [finding for finding in found if finding["level"] == "error"] == []
    assert result.exit_code == 0
    (tmp_path / "secrets" / "sender.key").unlink()
    result = call("doctor", "--quiet")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert any(line.startswith("error   secrets: sender key:") and "bring it back from a backup" in line for line in lines)
    assert not [line for line in lines if line.startswith("ok ")]
    assert re.match(r"1 error, (1 warning|\d+ warnings), \d+ good$", lines[-1])


def test_doctor_reports_settings_that_do_not_load(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETENTION_DAYS", "minus one")
    result = call("doctor")
    assert result.exit_code == 1
    assert "RETENTION_DAYS" in result.stdout
