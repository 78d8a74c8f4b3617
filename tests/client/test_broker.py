"""A sender and a proxy: what is sent, what comes back, what is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support.certs import Authority
from support.scripted import DROP, Answer, Scripted, problem
from support.servers import free_port

from messagebroker.client import CloudEvent, Draft, Problem, Retry, Unreachable

pytestmark = pytest.mark.clocked

Connect = Callable[..., Any]
TAKEN = Answer(202, {
    "message_id": "0190b8e0-7c1e-7cc3-98c4-dc0c0c07398f", "status": "queued", "client_id": "till-7",
    "queued_at": "2025-03-01T08:00:00.123456Z", "topic": "messages", "durability": "fsync", "new_in_2030": 1,
})  # fmt: skip
QUICK = Retry(attempts=4, first_pause=0.01, longest_pause=0.02)


def test_submit_shows_the_certificate_and_sends_only_what_was_given(connect: Connect, certs: Path) -> None:
    with Scripted(certs, TAKEN) as proxy:
        taken = connect(proxy.url).submit("hello", sender="+4915112345678", deliver_at=datetime(2030, 1, 2, tzinfo=UTC), wait=5)
    asked = proxy.asked[0]
    assert (asked.method, asked.path, asked.peer) == ("POST", "/api/v1/messages", "urn:messagebroker:client:till-7")
    assert asked.json == {"body": "hello", "sender": "+4915112345678", "deliver_at": "2030-01-02T00:00:00Z"}
    assert asked.headers["prefer"] == "wait=5"
    assert asked.headers["idempotency-key"]
    assert taken.message_id == "0190b8e0-7c1e-7cc3-98c4-dc0c0c07398f"
    assert taken.queued_at == datetime(2025, 3, 1, 8, 0, 0, 123456, tzinfo=UTC)
    assert taken.durability == "fsync"


def test_every_try_of_one_submit_carries_the_same_key_and_another_submit_another(connect: Connect, certs: Path) -> None:
    script = (problem(503, "redis-unavailable"), DROP, problem(409, "idempotency-key-in-use"), TAKEN)
    with Scripted(certs, *script) as proxy:
        broker = connect(proxy.url, retry=QUICK)
        broker.submit("one")
        broker.submit("two")
    keys = [asked.headers["idempotency-key"] for asked in proxy.asked]
    assert len(keys) == 5
    assert len(set(keys[:4])) == 1
    assert keys[4] != keys[0]


def test_a_key_of_ones_own_is_kept(connect: Connect, certs: Path) -> None:
    with Scripted(certs, TAKEN) as proxy:
        connect(proxy.url).submit("one", idempotency_key="order-17")
    assert proxy.asked[0].headers["idempotency-key"] == "order-17"


def test_retry_after_is_waited_for(connect: Connect, certs: Path) -> None:
    with Scripted(certs, problem(429, "too-many-messages", **{"Retry-After": "1"}), TAKEN) as proxy:
        began = time.monotonic()
        connect(proxy.url, retry=QUICK).submit("one")
        assert 1.0 <= time.monotonic() - began < 3.0


def test_a_retry_after_beyond_ones_patience_is_raised_at_once(connect: Connect, certs: Path) -> None:
    with Scripted(certs, problem(503, "redis-full", **{"Retry-After": "600"})) as proxy:
        with pytest.raises(Problem) as caught:
            connect(proxy.url, retry=Retry(give_up_after=5)).submit("one")
    assert len(proxy.asked) == 1
    assert (caught.value.status, caught.value.retry_after, caught.value.permanent) == (503, 600.0, False)
    assert caught.value.idempotency_key == proxy.asked[0].headers["idempotency-key"]


@pytest.mark.parametrize(("status", "name"), [(422, "invalid-field"), (403, "certificate-revoked"), (409, "other")])
def test_what_is_final_is_asked_once(connect: Connect, certs: Path, status: int, name: str) -> None:
    refusal = problem(status, name, "topic: not allowed")
    refusal.document["field"] = "topic"
    with Scripted(certs, refusal) as proxy:
        with pytest.raises(Problem) as caught:
            connect(proxy.url, retry=QUICK).submit("one")
    assert len(proxy.asked) == 1
    assert (caught.value.status, caught.value.name, caught.value.field) == (status, name, "topic")
    assert caught.value.permanent
    assert "topic: not allowed" in str(caught.value)


def test_an_answer_that_never_comes_is_of_unknown_outcome_and_names_the_key(connect: Connect, certs: Path) -> None:
    with Scripted(certs, DROP) as proxy:
        with pytest.raises(Unreachable) as caught:
            connect(proxy.url, retry=QUICK).submit("one")
    assert len(proxy.asked) == QUICK.attempts
    assert (caught.value.outcome, caught.value.permanent) == ("unknown", False)
    assert caught.value.idempotency_key == proxy.asked[0].headers["idempotency-key"]


def test_nobody_listening_means_not_sent(connect: Connect) -> None:
    with pytest.raises(Unreachable) as caught:
        connect(f"https://localhost:{free_port()}", retry=QUICK).submit("one")
    assert caught.value.outcome == "not-sent"


def test_a_server_of_another_ca_gets_nothing(connect: Connect, certs: Path, tmp_path: Path) -> None:
    stranger = Authority(tmp_path)
    stranger.component("proxy")
    with Scripted(tmp_path, TAKEN) as proxy:
        with pytest.raises(Unreachable, match=r"(?i)certificate"):
            connect(proxy.url, retry=Retry(attempts=1)).submit("one")
    assert proxy.asked == []


def test_an_error_page_of_some_box_in_between_is_a_problem_too(connect: Connect, certs: Path) -> None:
    with Scripted(certs, Answer(500, raw=b"<h1>oops</h1>", headers={"Content-Type": "text/html"})) as proxy:
        with pytest.raises(Problem, match="localhost answered 500") as caught:
            connect(proxy.url).submit("one")
    assert caught.value.name == "about:blank"


def test_a_success_that_makes_no_sense_is_a_problem(connect: Connect, certs: Path) -> None:
    with Scripted(certs, Answer(202, {"message_id": 7})) as proxy:
        with pytest.raises(Problem, match="not what this client knows"):
            connect(proxy.url).submit("one")


def test_a_batch_comes_back_item_by_item(connect: Connect, certs: Path) -> None:
    answer = Answer(207, {"accepted": 1, "refused": 1, "durability": "fsync", "items": [
        {"index": 0, "message_id": "a", "status": "queued"},
        {"index": 1, "problem": {"type": "urn:messagebroker:problem:invalid-field", "status": 422}},
    ]})  # fmt: skip
    with Scripted(certs, answer) as proxy:
        result = connect(proxy.url).submit_batch([Draft(body="x", topic="a.b"), Draft(body="")], idempotency_key="k")
    assert proxy.asked[0].path == "/api/v1/messages/batch"
    assert proxy.asked[0].json == {"messages": [{"body": "x", "topic": "a.b"}, {"body": ""}]}
    assert proxy.asked[0].headers["idempotency-key"] == "k"
    assert [item.message_id for item in result.items] == ["a", None]
    assert result.items[1].problem == {"type": "urn:messagebroker:problem:invalid-field", "status": 422}


def test_cloud_events_go_out_structured_and_batched(connect: Connect, certs: Path) -> None:
    event = CloudEvent(type="a.b", source="/till/7", id="1", data={"n": 1}, extensions={"region": "eu"})
    document = {"specversion": "1.0", "type": "a.b", "source": "/till/7", "id": "1", "data": {"n": 1}, "region": "eu"}
    with Scripted(certs, TAKEN, Answer(202, {"accepted": 2, "refused": 0, "items": []})) as proxy:
        broker = connect(proxy.url)
        broker.submit_event(event)
        broker.submit_events([event, event])
    single, batch = proxy.asked
    assert (single.headers["content-type"], single.json) == ("application/cloudevents+json", document)
    assert (batch.headers["content-type"], batch.json) == ("application/cloudevents-batch+json", [document, document])
    assert single.path == batch.path == "/api/v1/messages"


def test_get_waits_until_the_message_is_stored(connect: Connect, certs: Path) -> None:
    stored = Answer(200, {"message_id": "a", "client_id": "till-7", "topic": "t", "status": "delivered", "body": "hello"})
    with Scripted(certs, problem(404, "not-stored-yet", **{"Retry-After": "1"}), stored) as proxy:
        assert connect(proxy.url).get("a", wait=5).body == "hello"
    assert [asked.path for asked in proxy.asked] == ["/api/v1/messages/a"] * 2


def test_get_without_patience_and_of_a_stranger_raises(connect: Connect, certs: Path) -> None:
    for answer, wait in ((problem(404, "not-stored-yet"), 0), (problem(404, "not-found"), 5)):
        with Scripted(certs, answer) as proxy:
            with pytest.raises(Problem):
                connect(proxy.url).get("a", wait=wait)
        assert len(proxy.asked) == 1


def test_an_id_cannot_lead_to_another_path(connect: Connect, certs: Path) -> None:
    with Scripted(certs, problem(404, "not-found")) as proxy:
        with pytest.raises(Problem):
            connect(proxy.url).get("../whoami?x=1")
    assert proxy.asked[0].path == "/api/v1/messages/..%2Fwhoami%3Fx%3D1"


def test_whoami(connect: Connect, certs: Path) -> None:
    with Scripted(certs, Answer(200, {"client_id": "till-7", "days_left": 300})) as proxy:
        assert connect(proxy.url).whoami()["days_left"] == 300
    told = datetime.fromisoformat(proxy.asked[0].headers["x-client-time"])
    assert abs((datetime.now(UTC) - told).total_seconds()) < 10


def test_a_connection_that_idled_away_is_replaced_unseen(connect: Connect, certs: Path) -> None:
    once = Answer(TAKEN.status, TAKEN.document, {"Connection": "close"})
    with Scripted(certs, once, TAKEN) as proxy:
        broker = connect(proxy.url, retry=Retry(attempts=1))
        broker.submit("one")
        assert broker.submit("two").status == "queued"


def test_ones_own_list_and_numbers(connect: Connect, certs: Path) -> None:
    since = datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    message = {"message_id": "m", "client_id": "till-7", "topic": "t", "status": "delivered", "new_in_2030": 1}
    hour = {"hour": "2026-03-01T00:00:00Z", "stored": 3, "copies": 1, "set_aside": 2}
    numbers = {"client_id": "till-7", "since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z", "stored": 3}
    script = (Answer(200, {"items": [message], "next": "AB"}), Answer(200, {**numbers, "items": [hour]}))
    with Scripted(certs, *script) as proxy:
        broker = connect(proxy.url)
        page = broker.list_messages(since=since, status="delivered", oldest_first=True, limit=1, cursor="AA")
        found = broker.counts(since=since)
    assert (page.next, page.items[0].status) == ("AB", "delivered")
    assert (found.stored, found.items[0].hour, found.items[0].set_aside) == (3, datetime(2026, 3, 1, tzinfo=UTC), 2)
    assert [asked.path for asked in proxy.asked] == [
        "/api/v1/messages?since=2026-03-01T00%3A00%3A00%2B00%3A00&status=delivered&order=asc&limit=1&cursor=AA",
        "/api/v1/messages/counts?since=2026-03-01T00%3A00%3A00%2B00%3A00",
    ]
