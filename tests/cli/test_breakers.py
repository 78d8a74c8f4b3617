from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from messagebroker.cli.actor import this_user
from messagebroker.cli.breakers import app
from messagebroker.db import schema
from messagebroker.db.connection import open_database
from messagebroker.db.models import Subscription
from messagebroker.db.writing import give_up_connection
from messagebroker.errors import NotFound, Unavailable
from messagebroker.ops import audit, breaker_events, clock
from messagebroker.ops.breakers import Breakers
from messagebroker.ops.redis_client import connect
from messagebroker.settings import load


@pytest.fixture(autouse=True)
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ENVIRONMENT", "test")
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("BREAKER_FAILURES", "3")
    open_database(load())
    schema.upgrade()
    now = clock.now()
    for name in ("orders", "returns"):
        row = {"name": name, "channel": "webhook", "topics": "[]", "config": "{}", "created_at": now, "changed_at": now}
        Subscription.insert(row).execute()
    yield
    give_up_connection()


def run(*words: str) -> Result:
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_an_outage_from_its_beginning_to_its_end() -> None:
    assert "no breaker is open" in run("list").stdout
    with connect(load()) as redis:
        worker = Breakers(redis, load())
        worker.refresh()
        worker.record(1, 0, 3, "HTTP 503")
        [shown] = json.loads(run("list", "--json").stdout)
        assert (shown["subscription_id"], shown["name"], shown["state"]) == (1, "orders", "open")
        assert shown["next_try"] > shown["since"]
        assert "orders" in run("list").stdout
        assert [one["state"] for one in json.loads(run("list", "--all", "--json").stdout)] == ["open", "closed"]
        assert "the breaker of subscription 1 (orders) is closed" in run("reset", "1").stdout
        worker.refresh()
        assert worker.may_try(1) is None
    assert json.loads(run("list", "--json").stdout) == []
    entry = audit.page(limit=1)[0]
    assert (entry.action, entry.actor) == ("breaker.reset", this_user().name)
    breaker_events.change(2, "open", "timeout")
    assert [one["state"] for one in json.loads(run("events", "--json").stdout)] == ["open", "closed", "open"]
    of_one = json.loads(run("events", "--subscription", "1", "--limit", "1", "--json").stdout)
    assert [(one["state"], one["why"]) for one in of_one] == [("closed", f"reset by {this_user().name}")]
    assert "HTTP 503" in run("events").stdout


def test_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound, match="breakers list"):
        run("reset", "77")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    assert json.loads(run("list", "--json").stdout) == []
    with pytest.raises(Unavailable, match="Redis at"):
        run("reset", "1")
