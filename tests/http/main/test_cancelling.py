from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from support.cast import Cast, Shelf, assert_problem, audited

from messagebroker.db.models import Message, MessageAlias
from messagebroker.ops import clock, due, ids


def path(message_id: str) -> str:
    return f"/api/v1/messages/{message_id}/cancel"


def scheduled(shelf: Shelf, hours: float = 1) -> str:
    return shelf.put("a secret", status="scheduled", due_at=clock.now() + timedelta(hours=hours))


@pytest.mark.parametrize("role", ["operator", "admin"])
def test_a_scheduled_message_is_taken_back(cast: Cast, shelf: Shelf, role: str) -> None:
    message_id, other = scheduled(shelf), scheduled(shelf)
    answer = cast.post(path(message_id), role)
    assert (answer.status_code, answer.json["status"], answer.json["due_at"]) == (200, "cancelled", None)
    assert "secret" not in answer.text
    [row] = audited("message.cancel")
    assert (row.actor, row.object_id, row.address) == (f"user:{role}@example.org", message_id, "192.0.2.7")
    details = json.loads(row.details)
    assert (details["client"], details["before"]["status"], details["after"]["status"]) == ("owner", "scheduled", "cancelled")
    assert cast.get(f"/api/v1/messages/{other}", role).json["status"] == "scheduled"


@pytest.mark.parametrize("status", ["pending", "processing", "delivered", "failed", "expired", "cancelled"])
def test_what_has_begun_or_ended_is_not(cast: Cast, shelf: Shelf, status: str) -> None:
    message_id = shelf.put(status=status)
    document = assert_problem(cast.post(path(message_id), "operator"), 409, "not-scheduled")
    assert f"is {status}" in document["detail"]
    assert audited("message.cancel") == []


def test_twice_is_a_conflict(cast: Cast, shelf: Shelf) -> None:
    message_id = scheduled(shelf)
    answers = [cast.post(path(message_id), "operator").status_code for _ in range(2)]
    assert answers == [200, 409]
    assert len(audited("message.cancel")) == 1


def test_a_later_copys_id_cancels_the_first(cast: Cast, shelf: Shelf) -> None:
    stored, later = scheduled(shelf), ids.new()
    MessageAlias.insert(id=later, message=ids.parse(stored), created_at=clock.now()).execute()
    answer = cast.post(path(ids.text(later)), "operator").json
    assert (answer["message_id"], answer["alias_of"], answer["status"]) == (ids.text(later), stored, "cancelled")
    assert [row.object_id for row in audited("message.cancel")] == [stored]


def test_who_may_not(cast: Cast, shelf: Shelf) -> None:
    message_id = scheduled(shelf)
    for known in (message_id, ids.text(ids.new())):
        for role in ("user", "user_manager"):
            assert_problem(cast.post(path(known), role), 403, "forbidden")
        assert_problem(cast.post(path(known), peer="proxy"), 403, "forbidden")
        assert_problem(cast.post(path(known), peer="owner"), 403, "clients-use-the-proxy")
    assert Message.get().status == "scheduled"


@pytest.mark.parametrize("wrong", ["x", "%00" * 36, "0" * 36, "' OR 1=1 --"])
def test_what_is_not_there(cast: Cast, shelf: Shelf, wrong: str) -> None:
    scheduled(shelf)
    assert_problem(cast.post(path(wrong), "operator"), 404, "not-found")
    assert_problem(cast.post(path(ids.text(ids.new())), "operator"), 404, "not-found")
    assert Message.get().status == "scheduled"


def test_of_a_cancel_and_a_claim_at_once_one_wins(cast: Cast, shelf: Shelf) -> None:
    """As the poller claims it: whichever changes the row first."""
    with ThreadPoolExecutor(1) as pool:
        for _ in range(5):
            message_id = scheduled(shelf, -1)
            answer = pool.submit(cast.post, path(message_id), "operator")
            due.release_due()
            status = Message.get(Message.id == ids.parse(message_id)).status
            assert (answer.result().status_code, status) in ((200, "cancelled"), (409, "pending"), (409, "delivered"))
            Message.delete().execute()
