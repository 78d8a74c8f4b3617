from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from support.cast import Cast, assert_problem, audited
from support.records import KEY, record

from messagebroker.db.models import IngestFailure, Message
from messagebroker.ops import clock, failures, ids

PATH = "/api/v1/ingest-failures"


def set_aside(**changes: Any) -> str:
    one = record(**changes)
    failures.set_aside(one, KEY, "DataError: too long")
    return ids.text(one.id)


@pytest.mark.parametrize("limit", [1, 2, 200])
@pytest.mark.parametrize("order", ["desc", "asc"])
def test_they_are_listed_in_the_order_in_which_they_failed(cast: Cast, limit: int, order: str) -> None:
    made = sorted(set_aside() for _ in range(5))
    now = clock.now()
    moments = (3, 1, 1, 2, 1)  # three at once: by id then
    for message_id, hours in zip(made, moments, strict=True):
        IngestFailure.update(failed_at=now + timedelta(hours=hours)).where(IngestFailure.id == ids.parse(message_id)).execute()
    expected = [made[at] for at in (1, 2, 4, 3, 0)]
    found: list[str] = []
    cursor = None
    while True:
        page = cast.get(
            PATH, "operator", params={"limit": limit, "order": order, **({"cursor": cursor} if cursor else {})}
        ).json
        found += [item["message_id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == (expected if order == "asc" else expected[::-1])


def test_one_shows_what_is_plain(cast: Cast) -> None:
    message_id = set_aside(topic="orders", priority=1, correlation_id="order 7")
    answer = cast.get(f"{PATH}/{message_id}", "operator").json
    assert (answer["message_id"], answer["topic"], answer["priority"]) == (message_id, "orders", "high")
    assert (answer["records"], answer["correlation_id"], answer["error"]) == (1, "order 7", "DataError: too long")
    assert "sealed" not in answer


@pytest.mark.parametrize("call", [b"", b"\xc1", b"\x91" * 5000, b"\x93\x01\x90\x90"])
def test_one_that_cannot_be_read_is_shown_all_the_same(cast: Cast, call: bytes) -> None:
    failures.set_aside_unread(call, "DecodeError: no call")
    [item] = cast.get(PATH, "operator").json["items"]
    answer = cast.get(f"{PATH}/{item['message_id']}", "operator").json
    assert (answer["client_id"], answer["topic"]) == ("unknown", None)


@pytest.mark.parametrize("role", ["operator", "admin"])
def test_another_try_stores_it_once(cast: Cast, role: str) -> None:
    message_id = set_aside()
    answer = cast.post(f"{PATH}/{message_id}/retry", role)
    assert answer.json == {"message_id": message_id, "stored": 1, "duplicates": 0, "aliased": 0}
    assert [ids.text(bytes(row.id)) for row in Message.select()] == [message_id]
    [row] = audited("message.retry")
    assert (row.actor, row.object_id) == (f"user:{role}@example.org", message_id)
    assert json.loads(row.details)["stored"] == 1
    assert_problem(cast.post(f"{PATH}/{message_id}/retry", role), 404, "not-found")
    assert_problem(cast.get(f"{PATH}/{message_id}", role), 404, "not-found")
    assert len(audited("message.retry")) == 1


def test_what_is_refused_again_is_kept(cast: Cast) -> None:
    message_id = set_aside(sender_hash=b"short")
    document = assert_problem(cast.post(f"{PATH}/{message_id}/retry", "operator"), 409, "still-refused")
    assert "16" in document["detail"]
    assert IngestFailure.select().count() == 1
    assert audited("message.retry") == []


def test_who_may(cast: Cast) -> None:
    message_id = set_aside()
    for method, path in (("GET", PATH), ("GET", f"{PATH}/{message_id}"), ("POST", f"{PATH}/{message_id}/retry")):
        for role in ("user", "user_manager"):
            assert_problem(cast.call(method, path, token=cast.token(role)), 403, "forbidden")
        assert_problem(cast.call(method, path), 401, "token-required")
        assert_problem(cast.call(method, path, peer="proxy"), 403, "forbidden")
    assert IngestFailure.select().count() == 1


@pytest.mark.parametrize(("query", "field"), [("cursor=AAAA", "cursor"), ("limit=0", "limit"), ("client=x", "client")])
def test_bad_parameters(cast: Cast, query: str, field: str) -> None:
    assert assert_problem(cast.get(PATH, "operator", query_string=query), 400, "invalid-parameter")["field"] == field
