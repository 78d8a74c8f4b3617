"""Pulls over the API: who may, what they get, how long they wait and what ends their waiting; over real TLS."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.cast import Cast, assert_problem
from support.pulled import Pulled, delivery, run_out, status_of, subscribe

PULL = "/api/v1/pull"


@pytest.fixture
def pulled(cast: Cast) -> Pulled:
    return Pulled(cast.settings)


class TestWhoMay:
    def test_the_client_that_the_subscription_names(self, cast: Cast, pulled: Pulled) -> None:
        number = subscribe("owner")
        stored = pulled.put(number)
        for client in ("other", "owner"):
            answer = cast.post(f"{PULL}/{number}", peer=client, json={})
            if client == "other":
                assert_problem(answer, 404, "not-found")
        [item] = answer.json["items"]
        assert (item["message_id"], item["body"], item["client"], item["attempt"]) == (stored, "hello", "owner", 1)
        assert answer.headers["cache-control"] == "no-store"
        for verb in ("acknowledge", "extend", "return"):
            named = {"lease_ids": [item["lease_id"]]}
            assert_problem(cast.post(f"{PULL}/{number}/{verb}", peer="other", json=named), 404, "not-found")
        assert status_of(stored) == ("processing", "processing")

    def test_nobody_else(self, cast: Cast) -> None:
        path = f"{PULL}/{subscribe('owner')}"
        assert_problem(cast.post(path, json={}), 401, "token-required")
        assert_problem(cast.post(path, "admin", json={}), 403, "forbidden")
        assert_problem(cast.post(path, peer="proxy", json={}), 403, "forbidden")
        assert_problem(cast.post(path, peer="revoked", json={}), 403, "certificate-revoked")
        assert_problem(cast.post(path, "admin", peer="owner", json={}), 403, "certificate-and-token")
        assert_problem(cast.call("GET", "/api/v1/pulls", peer="owner"), 403, "clients-use-the-proxy")
        assert_problem(cast.call("GET", f"{PULL}/1/nothing", peer="owner"), 404, "not-found")

    def test_while_redis_is_away_the_database_tells_which_client_may(self, cast: Cast) -> None:
        from messagebroker.db.models import Client
        from messagebroker.ops import clock

        cast.watcher.fresh = False
        path = f"{PULL}/{subscribe('owner')}"
        assert_problem(cast.post(path, peer="owner", json={}), 403, "client-unknown")
        Client.insert(name="owner", created_at=clock.now()).execute()
        assert cast.post(path, peer="owner", json={}).status_code == 200
        Client.update(disabled_at=clock.now()).execute()
        assert_problem(cast.post(path, peer="owner", json={}), 403, "client-disabled")


@pytest.mark.parametrize("number", ["0", "-1", "x", "99999999999", "%31", "٣"])
def test_what_is_no_number_of_a_subscription(cast: Cast, number: str) -> None:
    for end in ("", "/acknowledge"):
        body = {"lease_ids": ["x"]} if end else {}
        assert cast.post(f"{PULL}/{number}{end}", peer="owner", json=body).status_code == 404


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("", {"max": 0}, "max"),
        ("", {"max": 101}, "max"),
        ("", {"wait_seconds": 31}, "wait_seconds"),
        ("", {"lease_seconds": 4}, "lease_seconds"),
        ("", {"lease_seconds": 3601}, "lease_seconds"),
        ("", {"what": 1}, "what"),
        ("/acknowledge", {}, "lease_ids"),
        ("/acknowledge", {"lease_ids": []}, "lease_ids"),
        ("/acknowledge", {"lease_ids": ["x"] * 101}, "lease_ids"),
        ("/extend", {"lease_ids": ["x"], "lease_seconds": 1}, "lease_seconds"),
        ("/return", {"lease_ids": ["x"], "delay_seconds": -1}, "delay_seconds"),
    ],
)
def test_the_field_at_fault_is_named(cast: Cast, verb: str, body: dict[str, Any], field: str) -> None:
    problem = assert_problem(cast.post(f"{PULL}/{subscribe()}{verb}", peer="owner", json=body), 422, "invalid-field")
    assert problem["field"] == field


def test_from_the_first_lease_to_the_end(cast: Cast, pulled: Pulled) -> None:
    path = f"{PULL}/{subscribe()}"
    stored = [pulled.put(int(path.rpartition("/")[2]), body) for body in ("a", "b", "c")]
    taken = cast.post(path, peer="owner", json={"max": 3, "lease_seconds": 30}).json["items"]
    first, second, third = (item["lease_id"] for item in taken)
    run_out(stored[2])
    done = cast.post(f"{path}/acknowledge", peer="owner", json={"lease_ids": [first, third, "nonsense"]}).json["items"]
    assert [(one["lease_id"], one["result"]) for one in done] == [(first, "done"), (third, "lost"), ("nonsense", "lost")]
    [extended] = cast.post(f"{path}/extend", peer="owner", json={"lease_ids": [second], "lease_seconds": 3600}).json["items"]
    assert extended["result"] == "done"
    until = datetime.fromisoformat(extended["lease_until"])
    assert until - datetime.now(UTC) > timedelta(seconds=3500)
    assert delivery(stored[1]).due_at == until
    again = cast.post(f"{path}/return", peer="owner", json={"lease_ids": [second], "delay_seconds": 60}).json["items"]
    assert again == [{"lease_id": second, "result": "done"}]
    assert cast.post(path, peer="owner", json={}).json == {"items": []}
    assert [status_of(one)[1] for one in stored] == ["delivered", "pending", "processing"]


def test_a_disabled_subscription_says_so(cast: Cast) -> None:
    number = subscribe(disabled_at=datetime.now(UTC), disabled_why="it was too slow")
    problem = assert_problem(cast.post(f"{PULL}/{number}", peer="owner", json={"wait_seconds": 5}), 409, "conflict")
    assert "it was too slow" in problem["detail"]
