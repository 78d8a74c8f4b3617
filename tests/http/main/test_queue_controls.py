"""An operator's hand on the queues, by API."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from support.cast import Cast, Shelf, assert_problem
from support.queued import audited, enqueue
from support.records import records
from support.subscribed import delivery, webhook

from messagebroker.db.models import Delivery, Heartbeat
from messagebroker.ops import clock, concurrency, draining, ids, steering
from messagebroker.ops.redis_client import connect

QUEUE = "/api/v1/queue"
WORKERS = "/api/v1/workers"


@pytest.fixture
def shelf_online(online: Cast) -> Shelf:
    return Shelf(online.settings)


def test_a_queue_is_paused_and_resumed(cast: Cast) -> None:
    first = cast.post(f"{QUEUE}/low/pause", "operator", json={"reason": "the warehouse moves"}).json
    assert first["changed"]
    assert (first["queue"], first["paused"]["paused_by"]) == ("low", "user:operator@example.org")
    second = cast.post(f"{QUEUE}/low/pause", "admin", json={}).json
    assert not second["changed"]
    assert second["paused"] == first["paused"]
    steering.refresh()
    assert steering.paused() == {"low"}
    assert cast.post(f"{QUEUE}/low/resume", "operator").json == {"queue": "low", "paused": None, "changed": True}
    assert not cast.post(f"{QUEUE}/low/resume", "operator").json["changed"]
    assert_problem(cast.post(f"{QUEUE}/email/pause", "operator", json={}), 404, "not-found")
    assert_problem(cast.post(f"{QUEUE}/low/pause", "operator", json={"reason": "x" * 501}), 422, "invalid-field")


def test_the_next_messages_are_shown(online: Cast, shelf_online: Shelf) -> None:
    number = webhook(online.settings).id
    due = delivery(shelf_online, number, "pending", due_at=clock.now() - timedelta(seconds=5))
    waiting = records(2)
    with connect(online.settings) as redis:
        enqueue(redis, waiting)
    found = online.get(f"{QUEUE}/normal/peek", "operator").json
    assert [(one["state"], one["message_id"]) for one in found["items"]] == [
        ("accepted", ids.text(waiting[0].id)), ("accepted", ids.text(waiting[1].id)), ("due", due),
    ]  # fmt: skip
    assert (found["items"][2]["subscription_id"], found["items"][2]["topic"]) == (number, "orders")
    assert "body" not in found["items"][0]
    assert len(online.get(f"{QUEUE}/normal/peek?limit=1", "operator").json["items"]) == 1
    assert_problem(online.get(f"{QUEUE}/ops/peek", "operator"), 409, "conflict")
    assert_problem(online.get(f"{QUEUE}/email/peek", "operator"), 404, "not-found")
    assert_problem(online.get(f"{QUEUE}/low/peek?limit=1000", "operator"), 400, "invalid-parameter")


def test_it_is_told_when_a_queue_is_empty(online: Cast, shelf_online: Shelf) -> None:
    number = webhook(online.settings).id
    delivery(shelf_online, number, "pending", due_at=clock.now() - timedelta(seconds=5))
    look = {"seconds": 0}
    left = online.post(f"{QUEUE}/normal/drain", "operator", json=look).json
    assert left == {"queue": "normal", "drained": False, "waiting": 1, "running": 0}
    assert online.post(f"{QUEUE}/normal/drain", "operator", json={**look, "stored": True}).json["drained"]
    assert online.post(f"{QUEUE}/low/drain", "operator", json={}).json["drained"], "the others are waited for by themselves"
    online.post(f"{QUEUE}/normal/pause", "operator", json={})
    paused = online.post(f"{QUEUE}/normal/drain", "operator", json={})
    assert_problem(paused, 409, "conflict")
    assert "resume normal" in paused.json["detail"]
    assert_problem(online.post(f"{QUEUE}/email/drain", "operator", json=look), 404, "not-found")
    assert_problem(online.post(f"{QUEUE}/low/drain", "operator", json={"seconds": 11}), 422, "invalid-field")


def test_nobody_is_told_that_it_is_empty_while_redis_is_away(cast: Cast) -> None:
    assert cast.post(f"{QUEUE}/low/drain", "operator", json={"seconds": 0}).status_code == 503


def test_the_wait_is_as_long_as_was_asked(online: Cast, shelf_online: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    number = webhook(online.settings).id
    delivery(shelf_online, number, "pending", due_at=clock.now() - timedelta(seconds=5))
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        Delivery.update(status="delivered").execute()

    monkeypatch.setattr(draining.time, "sleep", sleep)
    monkeypatch.setattr(draining.Counter, "look", lambda self: draining.queue_stats.delivery_counts.count())
    found = online.post(f"{QUEUE}/normal/drain", "operator", json={"seconds": 5}).json
    assert (found["drained"], found["waiting"], len(waits)) == (True, 0, 1)


def test_a_purge_is_typed(online: Cast, shelf_online: Shelf) -> None:
    number = webhook(online.settings).id
    for _ in range(3):
        delivery(shelf_online, number, "pending", created_at=clock.now() - timedelta(hours=1))
    preview = online.post(f"{QUEUE}/normal/purge", "operator", json={"dry_run": True}).json
    assert (preview["left"], preview["cancelled"], preview["unstored"]) == (3, 0, 0)
    for wrong in ({}, {"confirm": "low", "reason": "x"}, {"confirm": "normal"}, {"confirm": "normal", "reason": " "}):
        assert_problem(online.post(f"{QUEUE}/normal/purge", "operator", json=wrong), 422, "invalid-field")
    assert Delivery.select().where(Delivery.status == "pending").count() == 3
    order = {"confirm": "normal", "reason": "test data", "before": preview["before"]}
    done = online.post(f"{QUEUE}/normal/purge", "operator", json=order).json
    assert (done["cancelled"], done["left"], done["before"]) == (3, 0, preview["before"])
    [row] = audited("queue.purge")
    assert row.actor == "user:operator@example.org"
    assert_problem(online.post(f"{QUEUE}/ops/purge", "operator", json={"confirm": "ops", "reason": "x"}), 422, "invalid-field")


def test_what_is_stuck_is_put_right(cast: Cast, shelf: Shelf) -> None:
    number = webhook(cast.settings).id
    delivery(shelf, number, "processing", holder=b"g" * 16, due_at=clock.now() - timedelta(hours=3))
    preview = cast.post(f"{QUEUE}/reset-stuck", "operator", json={"dry_run": True}).json
    assert preview["dry_run"]
    assert (preview["deliveries"]["normal"], preview["messages"]) == (1, 0)
    assert preview["oldest_seconds"] == pytest.approx(3 * 3600, abs=120)
    assert Delivery.get().status == "processing"
    assert cast.post(f"{QUEUE}/reset-stuck", "operator", json={"older_than": 7200}).json["deliveries"]["normal"] == 1
    assert Delivery.get().status == "pending"
    assert_problem(cast.post(f"{QUEUE}/reset-stuck", "operator", json={"older_than": 10}), 422, "invalid-field")


def beat(number: int, *, seconds_ago: float = 0, details: str | None = None) -> None:
    now = clock.now()
    Heartbeat.insert(
        instance=f"{number:032x}", role="worker", host="mill", pid=number, started_at=now,
        seen_at=now - timedelta(seconds=seconds_ago), details=details,
    ).execute()  # fmt: skip


def test_workers_are_listed_page_by_page(cast: Cast) -> None:
    told = json.dumps({"version": "1.2", "threads": 3, "calls": 1, "deliveries": 40, "stored_per_second": 5.5})
    beat(1, details=told)
    beat(2, seconds_ago=60)
    beat(3)
    first = cast.get(f"{WORKERS}?limit=2", "operator").json
    assert [(one["pid"], one["runs"], one["threads"]) for one in first["items"]] == [(1, True, 3), (2, False, None)]
    assert (first["items"][0]["version"], first["items"][0]["deliveries"]) == ("1.2", 40)
    assert (first["items"][0]["stored_per_second"], first["items"][0]["delivered_per_second"]) == (5.5, None)
    second = cast.get(f"{WORKERS}?cursor={first['next']}", "operator").json
    assert ([one["pid"] for one in second["items"]], second["next"]) == ([3], None)
    assert_problem(cast.get(f"{WORKERS}?cursor=x", "operator"), 400, "invalid-parameter")


def test_how_much_they_do_is_set_and_returned_to_the_settings(cast: Cast) -> None:
    def put(document: dict[str, object]) -> dict[str, object]:
        answer = cast.call("PUT", f"{WORKERS}/concurrency", token=cast.token("operator"), json=document)
        assert answer.status_code == 200, answer.text
        return dict(answer.json)

    assert cast.get(f"{WORKERS}/concurrency", "operator").json == {"threads": None, "deliveries": None}
    found = put({"threads": 4})
    assert found["deliveries"] is None
    assert cast.get(f"{WORKERS}/concurrency", "operator").json == found
    assert concurrency.overrides()["worker_threads"].value == 4
    both = put({"deliveries": 50})
    assert both["threads"] == found["threads"]
    assert put({"threads": None, "deliveries": None}) == {"threads": None, "deliveries": None}
    for wrong in ({"threads": 0}, {"threads": 65}, {"deliveries": 5001}, {"processes": 3}):
        answer = cast.call("PUT", f"{WORKERS}/concurrency", token=cast.token("operator"), json=wrong)
        assert_problem(answer, 422, "invalid-field")
