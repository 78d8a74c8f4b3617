from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from messagebroker.cli.actor import this_user
from messagebroker.cli.groups import app
from messagebroker.db import schema
from messagebroker.db.connection import open_database
from messagebroker.errors import NotFound, Refused
from messagebroker.ops import audit, groups, users
from messagebroker.ops.audit import Actor
from messagebroker.settings import load


@pytest.fixture(autouse=True)
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ENVIRONMENT", "test")
    open_database(load())
    schema.upgrade()
    for name in ("ada", "bob"):
        users.create(f"{name}@example.org", "user", actor=Actor(name="cli:test"))


def run(*words: str) -> Result:
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_group_from_its_beginning_to_its_end() -> None:
    run("create", "warehouse", "--manager", "ada@example.org", "--topic", "orders", "--topic", "returns")
    run("add", "warehouse", "bob@example.org")
    assert audit.page(limit=1)[0].actor == this_user().name
    [listed] = json.loads(run("list", "--json").stdout)
    assert (listed["name"], listed["manager"], listed["topics"], listed["members"]) == (
        "warehouse", "ada@example.org", ["orders", "returns"], 1,
    )  # fmt: skip
    assert "orders, returns" in run("list").stdout
    assert "bob@example.org" in run("show", "warehouse").stdout
    assert json.loads(run("show", "warehouse", "--json").stdout)["members"] == ["bob@example.org"]
    run("set", "warehouse", "--name", "stores", "--no-manager", "--no-topics")
    found = groups.by_name("stores")
    assert (found.manager, found.topics) == (None, [])
    run("set", "stores", "--description", "second floor", "--topic", "orders")
    assert (groups.by_name("stores").topics, groups.by_name("stores").description) == (["orders"], "second floor")
    run("remove", "stores", "bob@example.org")
    run("delete", "stores")
    assert json.loads(run("list", "--json").stdout) == []


def test_mistakes_are_named() -> None:
    run("create", "warehouse")
    with pytest.raises(NotFound, match="groups list"):
        run("add", "nobodys", "bob@example.org")
    with pytest.raises(NotFound, match="address"):
        run("add", "warehouse", "nobody@example.org")
    with pytest.raises(Refused, match="one of"):
        run("set", "warehouse", "--topic", "a", "--no-topics")


@pytest.mark.parametrize("command", ["create", "list", "show", "set", "add", "remove", "delete"])
def test_help_has_an_example(command: str) -> None:
    assert f"messagebroker groups {command}" in run(command, "--help").stdout
