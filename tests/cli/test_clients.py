"""`messagebroker clients …` as an operator types it, with main and Redis down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from messagebroker.cli.actor import this_user
from messagebroker.cli.clients import app
from messagebroker.db import connection, schema
from messagebroker.db.connection import connected, open_database
from messagebroker.db.models import AuditEntry, Group, User
from messagebroker.errors import BrokerError, Conflict, NotFound, Refused
from messagebroker.ops import certificates, clock, keyring
from messagebroker.settings import load


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setattr(connection.database, "obj", None)
    settings = load()
    certificates.init_ca(settings)
    keyring.first_secrets(settings)
    open_database(settings)
    schema.upgrade()
    with connected():
        User.insert(
            email="ada@example.org", role="user", password_hash="x", created_at=clock.now(), must_change_password=False
        ).execute()
        Group.insert(name="class 7b", created_at=clock.now()).execute()


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    if isinstance(result.exception, BrokerError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def shown(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("show", name, "--json"))
    return found


def test_the_life_of_a_client_without_main_and_redis() -> None:
    words = ["register", "till-7", "--owner", "ada@example.org", "--group", "class 7b", "--topic", "a.*", "--topic", "b"]
    result = CliRunner().invoke(app, [*words, "--default-topic", "b", "--rate", "5", "--max-batch", "9"])
    assert result.exit_code == 0, result.output
    assert "note: stored, but the proxies do not know it yet" in result.stderr
    before = shown("till-7")
    assert (before["owner"], before["group_id"], before["topics"], before["default_topic"]) == (
        "ada@example.org", 1, ["a.*", "b"], "b",
    )  # fmt: skip
    run("set", "till-7", "--rate", "7", "--clear", "owner", "--clear", "group", "--clear", "max-batch")
    after = shown("till-7")
    assert (after["owner"], after["group_id"], after["rate"], after["max_batch"]) == (None, None, 7, None)
    assert after["topics"] == ["a.*", "b"], "what is not named stays"
    run("disable", "till-7")
    assert shown("till-7")["disabled_at"] is not None
    assert "disabled" in run("list")
    run("enable", "till-7")
    assert "active" in run("list")
    assert [one["name"] for one in json.loads(run("list", "--json"))] == ["till-7"]
    assert json.loads(run("list", "--json", "--owner", "ada@example.org")) == []
    with connected():
        rows = [(row.actor, row.action) for row in AuditEntry.select().order_by(AuditEntry.id)]
    me = this_user().name
    assert rows == [(me, f"client.{what}") for what in ("register", "change", "disable", "enable")]


def test_mistakes_are_named() -> None:
    run("register", "till-7")
    for words, kind, why in (
        (["register", "till-7"], Conflict, "there is a client"),
        (["register", "proxy"], Refused, "component"),
        (["register", "x", "--owner", "nobody@example.org"], Refused, "no user nobody@example.org"),
        (["register", "x", "--group", "7c"], NotFound, "no group '7c'"),
        (["register", "x", "--topic", "a"], Refused, "messages is none of the topics"),
        (["set", "till-7"], Refused, "nothing to change"),
        (["set", "till-7", "--clear", "name"], Refused, "can be cleared"),
        (["set", "till-7", "--rate", "1", "--clear", "rate"], Refused, "contradict"),
        (["set", "absent", "--rate", "1"], NotFound, "no client 'absent'"),
        (["show", "absent"], NotFound, "no client"),
        (["disable", "absent"], NotFound, "no client"),
    ):
        with pytest.raises(kind, match=why):
            run(*words)


@pytest.mark.parametrize("command", ["list", "show", "register", "set", "disable", "enable"])
def test_help_has_an_example(command: str) -> None:
    assert f"Example: messagebroker clients {command}" in run(command, "--help")
