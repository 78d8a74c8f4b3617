from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from click.testing import Result
from support.dead import fail, subscription
from support.records import KEYS, record, records
from support.subscribing import subscribe
from typer.testing import CliRunner

from messagebroker.actors import ingest
from messagebroker.cli import build
from messagebroker.db import schema
from messagebroker.db.connection import database, open_database
from messagebroker.db.models import Delivery, Message
from messagebroker.errors import NotFound, Refused, Unavailable
from messagebroker.ops import failures, ids, stored_keys
from messagebroker.ops.keyring import create_master_key
from messagebroker.settings import load


@pytest.fixture
def client(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis_py.Redis]:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.chdir(tmp_path)
    stored_keys._known.clear()
    settings = load({}, data_dir=tmp_path, environment="test")
    open_database(settings)
    create_master_key(settings)
    schema.upgrade()
    with redis_py.Redis.from_url(redis_url) as made:
        yield made
    if not database.is_closed():
        database.close()


def call(*words: str) -> Result:
    result = CliRunner().invoke(build(list(words)), list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def stats() -> dict[str, Any]:
    return {found["queue"]: found for found in json.loads(call("queue", "stats", "--json").stdout)["queues"]}


def test_depth_is_counted_in_messages(client: redis_py.Redis) -> None:
    pipe = client.pipeline()
    ingest.add_calls(pipe, [*records(7), record(priority=0)], KEYS)
    pipe.execute()
    found = stats()
    assert (found["normal"]["messages"], found["normal"]["calls"], found["critical"]["messages"]) == (7, 1, 1)
    assert (found["normal"]["waiting"], found["normal"]["running"]) == (7, 0)
    assert found["normal"]["in_per_second"] > 0
    assert 0 <= found["normal"]["oldest_seconds"] < 60
    assert list(found) == ["critical", "high", "normal", "low", "ops"]
    shown = call("queue", "stats").stdout
    assert "normal" in shown
    assert "webhook" in shown


def test_without_redis_it_says_what_to_look_at(client: redis_py.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://me:hunter2@127.0.0.1:1/0")
    with pytest.raises(Unavailable, match=r"^Redis at 127\.0\.0\.1:1 does not answer: .*; start it .* REDIS_URL") as caught:
        call("queue", "stats")
    assert "hunter2" not in str(caught.value)


def test_failures_are_listed_and_stored_again(client: redis_py.Redis) -> None:
    number, good, bad = subscribe(), record(), record(sender_hash=b"short")
    for one in (good, bad):
        failures.set_aside(one, KEYS[one.data_key_id], "DataError: too long")
    listed = json.loads(call("queue", "failures", "--json").stdout)
    assert listed["total"] == 2
    assert {item["message_id"] for item in listed["items"]} == {ids.text(good.id), ids.text(bad.id)}
    assert "2 in all" in call("queue", "failures").stdout
    with pytest.raises(Refused, match="1 of 2"):
        call("queue", "retry", "--all")
    assert [bytes(message.id) for message in Message.select()] == [good.id]
    assert failures.all_ids() == [bad.id]
    assert [row.subscription_id for row in Delivery.select()] == [number], "who subscribed gets it"


def test_an_unknown_id_is_an_error(client: redis_py.Redis) -> None:
    with pytest.raises(NotFound, match="queue failures"):
        call("queue", "retry", ids.text(ids.new()))
    assert call("queue", "retry", "nonsense").exit_code == 2
    assert call("queue", "retry").exit_code == 2


def test_failed_deliveries_are_found_from_here(client: redis_py.Redis) -> None:
    assert "dead letters" not in call("queue", "stats").stdout
    subscription("shop")
    fail(1, 1)
    assert "`messagebroker dead-letters groups`" in call("queue", "stats").stdout
    with pytest.raises(Refused, match=r"failed deliveries of normal.*`messagebroker dead-letters retry`"):
        call("queue", "retry", "normal")
    assert "dead-letters retry" in call("queue", "retry", "--help").stdout
