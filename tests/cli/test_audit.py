from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support.audit import AuditEntry, AuditSeal, Log
from typer.testing import CliRunner

from messagebroker.cli import build
from messagebroker.db import schema
from messagebroker.db.connection import database, open_database
from messagebroker.errors import NotFound, Refused
from messagebroker.ops import audit, keyring
from messagebroker.settings import load


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    settings = load({}, data_dir=tmp_path, environment="test")
    open_database(settings)
    schema.upgrade()
    keyring.first_secrets(settings)
    yield Log(settings)
    if not database.is_closed():
        database.close()


def call(*words: str, **options: Any) -> Result:
    result = CliRunner().invoke(build(list(words)), list(words), **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_verify_says_what_is_proven_and_ends_with_1_when_something_is_wrong(log: Log) -> None:
    ids = log.sealed(4)
    good = call("audit", "verify")
    assert good.exit_code == 0
    assert "proven         4 rows" in good.stdout
    assert good.stdout.endswith("good\n")
    assert json.loads(call("audit", "verify", "--json").stdout)["proven"]["rows"] == 4
    AuditEntry.update(actor="x").where(AuditEntry.id == ids[1]).execute()
    bad = call("audit", "verify")
    assert bad.exit_code == 1
    assert f"changed        row {ids[1]} was changed (after 20" in bad.stdout
    assert "NOT GOOD: 1 findings" in bad.stdout
    report = json.loads(call("audit", "verify", "--json").stdout)
    assert (report["good"], report["findings"][0]["row"]) == (False, ids[1])


def test_verify_takes_a_head_from_elsewhere(log: Log, tmp_path: Path) -> None:
    log.sealed(2)
    copy = tmp_path / "elsewhere.jsonl"
    copy.write_bytes(log.head_path.read_bytes())
    log.head_path.unlink()
    AuditSeal.delete().execute()
    AuditEntry.delete().execute()
    assert call("audit", "verify").exit_code == 0
    assert call("audit", "verify", "--head", str(copy)).exit_code == 1
    with pytest.raises(NotFound, match=r"no head file .*none\.jsonl"):
        call("audit", "verify", "--head", "none.jsonl")
    with pytest.raises(NotFound, match="no backup"):
        call("audit", "verify", "--backup", "backup_20300101_000000.zip")


def test_accepting_an_end_that_is_gone(log: Log) -> None:
    log.sealed(2)
    AuditSeal.delete().execute()
    AuditEntry.delete().execute()
    assert call("audit", "verify").exit_code == 1
    with pytest.raises(Refused, match="nothing was changed"):
        call("audit", "accept", "--reason", "x", input="n\n")
    assert call("audit", "accept", "--reason", "the disk was lost", "--yes").stdout == "accepted\n"
    log.chain.seal()
    assert call("audit", "verify").exit_code == 0
    assert AuditEntry.get().action == "audit.accept"


def test_list_filters_and_does_what_no_stranger_says(log: Log) -> None:
    audit.record("user:eve\x1b[31m@x.y", "user.login", "user", "7")
    audit.record("cli:test", "user.logout", "user", "8", details={"why": "asked"})
    shown = call("audit", "list").stdout
    assert "\x1b" not in shown
    assert [line.split()[4] for line in shown.splitlines()] == ["user:8", "user:7"]
    [item] = json.loads(call("audit", "list", "--object", "user:8", "--json").stdout)["items"]
    assert (item["actor"], item["details"]) == ("cli:test", {"why": "asked"})
    assert call("audit", "list", "--action", "user.login", "--until", "2020-01-01").stdout == ""
    assert call("audit", "list", "--object", "user").exit_code == 2


def test_export_into_a_file_for_its_owner_alone(log: Log, tmp_path: Path) -> None:
    audit.record("=1+1", "user.login", "user", "7")
    call("audit", "export", "--output", "log.csv")
    [row] = csv.DictReader((tmp_path / "log.csv").read_text(encoding="utf-8").splitlines())
    assert row["actor"] == "'=1+1"
    assert (tmp_path / "log.csv").stat().st_mode & 0o077 == 0
    lines = call("audit", "export", "--output", "-", "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["user.login", "audit.export"]
