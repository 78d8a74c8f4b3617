from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from support import dead
from support.cast import Cast, assert_problem, audited
from support.dead import DOWN, NOW, REFUSED, fail, statuses

from messagebroker.db.writing import give_up_connection
from messagebroker.ops import ids
from messagebroker.ops.dead_letter_pieces import advance

PATH = "/api/v1/dead-letters"


@pytest.fixture(autouse=True)
def _one_connection() -> Iterator[None]:
    yield
    give_up_connection()


@pytest.fixture
def shop(cast: Cast) -> int:
    number = dead.subscription("shop")
    fail(3, number, DOWN)
    fail(2, number, REFUSED)
    return number


def as_operator(cast: Cast, path: str, body: Any = None, role: str = "operator") -> Any:
    return cast.post(f"{PATH}/{path}", role, json=body)


def all_of(cast: Cast, path: str, **params: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = cast.get(path, "operator", params={**params, **cursor, "limit": "2"}).json
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


def test_groups_and_items_page_by_page(cast: Cast, shop: int) -> None:
    groups = all_of(cast, f"{PATH}/groups")
    assert {(group["fingerprint"], group["count"]) for group in groups} == {(DOWN, 3), (REFUSED, 2)}
    assert {group["subscription"] for group in groups} == {"shop"}
    assert len({item["message_id"] for item in all_of(cast, PATH)}) == 5
    assert len(all_of(cast, PATH, subscription_id=str(shop), fingerprint=DOWN)) == 3
    later = (NOW + timedelta(days=1)).isoformat()
    assert all_of(cast, PATH, subscription_id=str(shop), fingerprint=DOWN, since=later) == []
    assert_problem(cast.get(PATH, "operator", params={"since": later}), 400, "filter-not-indexed")
    for cursor in ("AAAA", "cA", "AAAAAAAAAAE"):
        assert_problem(cast.get(PATH, "operator", params={"cursor": cursor}), 400, "invalid-parameter")
        assert_problem(cast.get(f"{PATH}/groups", "operator", params={"cursor": cursor}), 400, "invalid-parameter")


def test_preview_retry_and_undo(cast: Cast, shop: int) -> None:
    chosen = {"subscription_id": shop, "fingerprint": DOWN}
    assert as_operator(cast, "preview", chosen).json == {"count": 3, "not_retryable": 0, "subscriptions": 1}
    assert statuses() == {"failed": 5}
    answer = as_operator(cast, "retry", {**chosen, "rate": 10_000, "reason": "up again"})
    assert answer.status_code == 202
    move = answer.json
    assert (move["total"], move["moved"], move["state"], move["rate"]) == (3, 0, "running", 10_000)
    advance()
    assert statuses() == {"pending": 3, "failed": 2}
    assert cast.get(f"{PATH}/moves/{move['id']}", "operator").json["moved"] == 3
    [listed] = all_of(cast, f"{PATH}/moves")
    assert listed["created_by"] == "user:operator@example.org"
    assert listed["selection"] == chosen
    undone = as_operator(cast, f"moves/{move['id']}/undo")
    assert (undone.status_code, undone.json["count"]) == (202, 3)
    advance()
    assert statuses() == {"failed": 5}
    assert_problem(as_operator(cast, f"moves/{move['id']}/undo"), 409, "undo-over")
    assert [entry.address for entry in audited("dead_letters.retry")] == ["192.0.2.7"]


def test_a_purge_is_confirmed_with_the_count(cast: Cast, shop: int) -> None:
    order = {"all": True, "reason": "the shop is closed"}
    assert_problem(as_operator(cast, "purge", {**order, "confirm": 4}), 409, "count-changed")
    assert_problem(as_operator(cast, "purge", order), 422, "invalid-field")
    assert_problem(as_operator(cast, "purge", {**order, "confirm": 5, "reason": " "}), 422, "invalid-field")
    assert statuses() == {"failed": 5}
    assert as_operator(cast, "purge", {**order, "confirm": 5}).json["total"] == 5
    advance()
    assert statuses() == {"cancelled": 5}


def test_nothing_selected_and_nothing_said_are_problems(cast: Cast, shop: int) -> None:
    for path in ("preview", "retry"):
        assert_problem(as_operator(cast, path, {}), 422, "vague-selection")
        assert_problem(as_operator(cast, path, {"all": True, "fingerprint": DOWN}), 422, "vague-selection")
        assert_problem(as_operator(cast, path, {"fingerprint": DOWN.upper()}), 422, "invalid-field")
        assert_problem(as_operator(cast, path, {"message_id": "7"}), 422, "vague-selection")
    assert_problem(as_operator(cast, "retry", {"message_id": ids.text(ids.new())}), 409, "nothing-selected")
    assert_problem(as_operator(cast, "purge", {"subscription_id": 99, "confirm": 1, "reason": "x"}), 409, "nothing-selected")
    assert_problem(as_operator(cast, "retry", {"all": True, "rate": 0}), 422, "invalid-field")
    for number in ("99", "0", "x", "9" * 12):
        assert_problem(cast.get(f"{PATH}/moves/{number}", "operator"), 404, "not-found")
        assert_problem(as_operator(cast, f"moves/{number}/undo"), 404, "not-found")


def test_users_see_nothing_of_it(cast: Cast, shop: int) -> None:
    assert_problem(cast.get(f"{PATH}/groups", "user"), 403, "forbidden")
    assert_problem(as_operator(cast, "retry", {"all": True}, role="user"), 403, "forbidden")
