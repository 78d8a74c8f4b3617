from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support import dead
from support.dead import DOWN, REFUSED, fail, statuses
from typer.testing import CliRunner

from messagebroker.cli import build
from messagebroker.db import schema
from messagebroker.db.connection import database, open_database
from messagebroker.db.models import DeadLetterMove
from messagebroker.db.writing import give_up_connection
from messagebroker.errors import NotFound, Refused
from messagebroker.ops import ids
from messagebroker.ops.dead_letter_moves import NothingSelected
from messagebroker.settings import load


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    open_database(load({}, data_dir=tmp_path, environment="test"))
    schema.upgrade()
    number = dead.subscription("shop")
    fail(3, number, DOWN)
    fail(1, number, REFUSED)
    yield number
    give_up_connection()
    if not database.is_closed():
        database.close()


def call(*words: str, typed: str | None = None) -> Result:
    result = CliRunner().invoke(build(list(words)), list(words), input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def as_json(*words: str) -> Any:
    return json.loads(call("dead-letters", *words, "--json").stdout)


def test_groups_the_most_first_and_lists(shop: int) -> None:
    assert [(one["fingerprint"], one["count"]) for one in as_json("groups")["items"]] == [(DOWN, 3), (REFUSED, 1)]
    assert DOWN in call("dead-letters", "groups").stdout
    assert len(as_json("list", "--subscription", str(shop), "--fingerprint", DOWN)["items"]) == 3
    assert len(as_json("list", "--limit", "2")["items"]) == 2
    assert "orders" in call("dead-letters", "list").stdout
    with pytest.raises(Refused, match="no index serves"):
        call("dead-letters", "list", "--since", "2026-01-31")


def test_preview_then_retry_then_undo(shop: int) -> None:
    chosen = ("--subscription", str(shop), "--fingerprint", DOWN)
    assert as_json("preview", *chosen)["count"] == 3
    assert call("dead-letters", "retry", *chosen, typed="n\n").exit_code == 1
    assert statuses() == {"failed": 4}
    assert "3 of 3 moved; undo until" in call("dead-letters", "retry", *chosen, "--rate", "10000", typed="y\n").stdout
    assert statuses() == {"pending": 3, "failed": 1}
    assert as_json("undo", "1", "--yes")["count"] == 3
    assert statuses() == {"failed": 4}
    assert as_json("moves")["items"][0]["state"] == "undone"
    assert "undone" in call("dead-letters", "moves").stdout


def test_a_purge_wants_the_number_typed(shop: int) -> None:
    words = ("dead-letters", "purge", "--all", "--reason", "closed")
    with pytest.raises(Refused, match="'3' is not 4; nothing was changed"):
        call(*words, typed="3\n")
    assert statuses() == {"failed": 4}
    assert "4 dead letters of 1 subscriptions" in call(*words, typed="4\n").stderr
    assert statuses() == {"cancelled": 4}


def test_workers_may_be_left_to_it(shop: int) -> None:
    assert as_json("retry", "--all", "--yes", "--no-wait")["moved"] == 0
    assert statuses() == {"failed": 4}
    assert DeadLetterMove.get().state == "running"


def test_nothing_selected_and_nothing_said(shop: int) -> None:
    with pytest.raises(Refused, match="say which dead letters"):
        call("dead-letters", "retry", "--yes")
    with pytest.raises(NothingSelected, match="nothing was changed"):
        call("dead-letters", "purge", "--subscription", "99", "--reason", "x")
    with pytest.raises(NotFound):
        call("dead-letters", "undo", "7", "--yes")


def test_the_timeline_of_a_message(shop: int) -> None:
    [message] = fail(1, shop)
    call("dead-letters", "retry", "--message", ids.text(message), "--yes", "--reason", "the shop is up again")
    shown = call("messages", "timeline", ids.text(message)).stdout
    for word in ("accepted", "routed", "retried", "shop", "pending, attempts 0, due"):
        assert word in shown
    found = json.loads(call("messages", "timeline", ids.text(message), "--json").stdout)
    assert found["events"][-1]["details"]["reason"] == "the shop is up again"
    with pytest.raises(NotFound, match="is not stored"):
        call("messages", "timeline", ids.text(ids.new()))
    with pytest.raises(NotFound, match="UUID"):
        call("messages", "timeline", "7")
