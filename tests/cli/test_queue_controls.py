"""Steering queues and workers on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis as redis_py
from click.testing import Result
from support.queued import audited, enqueue, put, statuses
from support.records import records
from support.subscribing import Office, subscribe
from typer.testing import CliRunner

from messagebroker.cli import build
from messagebroker.db import schema
from messagebroker.db.connection import database, open_database
from messagebroker.db.models import Delivery, Heartbeat
from messagebroker.errors import NotFound, Refused
from messagebroker.ops import clock, draining, heartbeats, stored_keys
from messagebroker.ops.draining import NotDrained
from messagebroker.settings import load


@pytest.fixture
def client(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis_py.Redis]:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(draining, "LOOK_SECONDS", 0.01)
    stored_keys._known.clear()
    open_database(load({}, data_dir=tmp_path, environment="test"))
    schema.upgrade()
    with redis_py.Redis.from_url(redis_url) as made:
        yield made
    if not database.is_closed():
        database.close()


@pytest.fixture
def office(client: redis_py.Redis, tmp_path: Path) -> Office:
    return Office(load({}, data_dir=tmp_path, environment="test"))


def call(*words: str, typed: str | None = None) -> Result:
    result = CliRunner().invoke(build(list(words)), list(words), input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def answered(*words: str) -> dict[str, object]:
    return dict(json.loads(call(*words, "--json").stdout))


def test_a_queue_is_paused_and_resumed(client: redis_py.Redis) -> None:
    assert ": the warehouse moves" in call("queue", "pause", "low", "--reason", "the warehouse moves").stdout
    assert ": the warehouse moves" in call("queue", "pause", "low", "--reason", "something else").stdout  # the first holds
    said = call("queue", "stats").stdout
    assert "low (paused)" in said
    assert "the warehouse moves" in said
    assert answered("queue", "pause", "high")["paused"]
    assert "low goes on" in call("queue", "resume", "low").stdout
    assert "was not paused" in call("queue", "resume", "low").stdout
    assert answered("queue", "resume", "high") == {"queue": "high", "paused": None, "changed": True}
    with pytest.raises(NotFound, match="the queues are"):
        call("queue", "pause", "email")


def test_the_next_messages(client: redis_py.Redis, office: Office) -> None:
    subscribe()
    put(office, 2)
    enqueue(client, records(1))
    found = json.loads(call("queue", "peek", "normal", "--json").stdout)
    assert [one["state"] for one in found["items"]] == ["accepted", "due", "due"]
    assert found["items"][0]["message_id"][14] == "7", "an id as people know it"
    said = call("queue", "peek", "normal", "--limit", "2").stdout
    assert "to be" in said


def test_draining_ends_well_or_in_time(client: redis_py.Redis, office: Office) -> None:
    assert "drained" in call("queue", "drain").stdout
    assert answered("queue", "drain", "low") == {"queues": ["low"], "drained": True}
    enqueue(client, records(3))
    with pytest.raises(NotDrained, match="3 still wait"):
        call("queue", "drain", "--timeout", "0s")
    assert "drained" in call("queue", "drain", "low", "--timeout", "0s", "--stored").stdout
    assert call("queue", "drain", "--timeout", "soon").exit_code == 2


def test_a_purge_shows_asks_and_cancels(client: redis_py.Redis, office: Office) -> None:
    subscribe()
    put(office, 3)
    enqueue(client, records(2))
    assert (
        "3 pending deliveries of normal would be cancelled; 2 accepted" in call("queue", "purge", "normal", "--dry-run").stdout
    )
    with pytest.raises(Refused, match="--reason"):
        call("queue", "purge", "normal", "--yes")
    for words, typed, why in ((("--reason", "x"), "low\n", "nothing was purged"), (("--reason", "x", "--json"), None, "--yes")):
        with pytest.raises(Refused, match=why):
            call("queue", "purge", "normal", *words, typed=typed)
    assert statuses() == {"pending": 3}
    said = call("queue", "purge", "normal", "--reason", "x", typed="normal\n").stdout
    assert "3 pending deliveries of normal are cancelled" in said
    assert statuses() == {"cancelled": 3}
    assert [row.object_id for row in audited("queue.purge")] == ["normal"]
    found = answered("queue", "purge", "normal", "--reason", "x", "--yes")
    assert (found["cancelled"], found["unstored"]) == (0, 2)


def test_what_is_stuck_is_shown_and_put_right(client: redis_py.Redis, office: Office) -> None:
    subscribe()
    put(office, 2)
    assert "nothing is stuck" in call("queue", "reset-stuck").stdout
    Delivery.update(status="processing", holder=b"g" * 16, due_at=clock.now() - timedelta(hours=3)).execute()
    said = call("queue", "reset-stuck", "--older-than", "1h", "--dry-run").stdout
    assert "2 deliveries would be pending again (normal: 2)" in said
    assert call("queue", "reset-stuck", typed="n\n").exit_code == 1
    with pytest.raises(Refused, match="--yes"):
        call("queue", "reset-stuck", "--json")
    assert statuses() == {"processing": 2}
    assert "2 deliveries are pending again" in call("queue", "reset-stuck", typed="y\n").stdout
    assert statuses() == {"pending": 2}
    assert answered("queue", "reset-stuck", "--yes")["messages"] == 0


def test_workers_and_how_much_they_do(client: redis_py.Redis) -> None:
    heart = heartbeats.Heart("worker")
    heart.details = lambda: {"version": "1.2", "threads": 3, "deliveries": 40, "stored_per_second": 5.5}
    heart.beat()
    now = clock.now() - timedelta(minutes=5)
    Heartbeat.insert(instance="f" * 32, role="worker", host="mill", pid=77, started_at=now, seen_at=now).execute()
    found = json.loads(call("workers", "list", "--json").stdout)
    assert {one["pid"] for one in json.loads(call("workers", "--json").stdout)["workers"]} == {
        one["pid"] for one in found["workers"]
    }
    bare = call("workers").stdout
    assert ("mill" in bare, "Usage" in bare) == (True, False)
    assert "set by cli:" not in bare
    by_pid = {one["pid"]: one for one in found["workers"]}
    assert (len(by_pid), by_pid[77]["runs"], by_pid[77]["threads"]) == (2, False, None)
    assert found["overrides"] == {"worker_threads": None, "deliveries_at_once": None}
    assert "set by cli:" in call("workers", "scale", "--threads", "4").stdout
    assert json.loads(call("workers", "list", "--json").stdout)["overrides"]["worker_threads"]["value"] == 4
    assert "WORKER_THREADS" in call("workers", "list").stdout
    assert answered("workers", "scale", "--reset") == {"overrides": {"worker_threads": None, "deliveries_at_once": None}}
    for wrong in (("scale",), ("scale", "--reset", "--threads", "2")):
        with pytest.raises(Refused, match="or --reset"):
            call("workers", *wrong)
    assert call("workers", "scale", "--threads", "65").exit_code == 2


def test_without_the_database_there_is_what_redis_knows(client: redis_py.Redis, tmp_path: Path) -> None:
    """That is when a backlog grows."""
    enqueue(client, records(7))
    database.close()
    for file in tmp_path.glob("message_system.db*"):
        file.unlink()
    result = call("queue", "stats", "--json")
    found = {one["queue"]: one for one in json.loads(result.stdout)["queues"]}
    assert found["normal"]["messages"] == 7
    assert "without what is stored" in result.stderr
    assert "normal" in call("queue", "stats").stdout
