"""`messagebroker topics …` as an operator types it, with main and Redis down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from messagebroker.cli.actor import this_user
from messagebroker.cli.topics import app
from messagebroker.db import connection, schema
from messagebroker.db.connection import connected, open_database
from messagebroker.db.models import AuditEntry
from messagebroker.errors import BrokerError, Conflict, NotFound, Refused
from messagebroker.ops import certificates, keyring
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


def run(*words: str, typed: str | bytes | None = None) -> str:
    result = CliRunner().invoke(app, list(words), input=typed)
    if isinstance(result.exception, BrokerError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def shown(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("show", name, "--json"))
    return found


def test_the_life_of_a_topic_without_main_and_redis() -> None:
    Path("order.json").write_text('{ "type": "object" }', encoding="utf-8-sig")
    result = CliRunner().invoke(
        app, ["create", "orders/new", "--schema", "order.json", "--description", "shop", "--must-route"]
    )
    assert result.exit_code == 0, result.output
    assert "note: stored, but the proxies do not know it yet" in result.stderr
    made = shown("orders/new")
    assert (made["schema"], made["description"], made["must_route"], made["deprecated_at"]) == (
        {"type": "object"}, "shop", True, None,
    )  # fmt: skip
    assert '"type": "object"' in run("show", "orders/new")
    run("change", "orders/new", "--schema", "-", "--may-be-unrouted", typed='{"type": "array"}')
    run("change", "orders/new", "--deprecated")
    changed = shown("orders/new")
    assert (changed["schema"], changed["must_route"], changed["description"]) == ({"type": "array"}, False, "shop")
    assert "schema, deprecated" in run("list")
    run("change", "orders/new", "--no-schema", "--not-deprecated")
    assert [(one["name"], one["has_schema"]) for one in json.loads(run("list", "--json"))] == [("orders/new", False)]
    with pytest.raises(Refused, match="nothing was removed"):
        run("remove", "orders/new", typed="orders\n")
    assert "anything is taken on this topic" in run("remove", "orders/new", typed="orders/new\n")
    assert json.loads(run("list", "--json")) == []
    with connected():
        rows = [(row.actor, row.action) for row in AuditEntry.select().order_by(AuditEntry.id)]
    me = this_user().name
    assert rows == [(me, f"topic.{what}") for what in ("create", "change", "change", "change", "remove")]


def test_more_topics_than_a_page_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("messagebroker.cli.topics._PAGE", 2)
    for number in range(4):
        run("create", f"t{number}")
    assert [one["name"] for one in json.loads(run("list", "--json"))] == ["t0", "t1", "t2", "t3"]
    run("remove", "t0", "--yes")
    assert len(run("list").splitlines()) == 3


def test_mistakes_are_named() -> None:
    run("create", "orders")
    Path("broken.json").write_text('{"type": ', encoding="utf-8")
    Path("wrong.json").write_text('{"type": "intteger"}', encoding="utf-8")
    for words, kind, why in (
        (["create", "orders"], Conflict, "there is a topic"),
        (["create", "a b"], Refused, "is no topic"),
        (["create", "x", "--schema", "absent.json"], Refused, "absent.json cannot be read"),
        (["create", "x", "--schema", "broken.json"], Refused, "broken.json is not JSON"),
        (["create", "x", "--schema", "wrong.json"], Refused, "schema: /type"),
        (["change", "orders"], Refused, "nothing to change"),
        (["change", "orders", "--schema", "wrong.json", "--no-schema"], Refused, "give one of"),
        (["change", "absent", "--deprecated"], NotFound, "no topic 'absent'"),
        (["show", "absent"], NotFound, "no topic"),
        (["remove", "absent", "--yes"], NotFound, "no topic"),
    ):
        with pytest.raises(kind, match=why):
            run(*words)
