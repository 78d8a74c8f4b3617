from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from support.cast import Cast, Shelf, assert_problem, audited

from messagebroker.db.models import Message
from messagebroker.ops import clock, ids

PATH = "/api/v1/messages"


def walk(cast: Cast, **params: Any) -> list[str]:
    """Every message of the list, page by page."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = cast.get(PATH, "user", params={**params, **({"cursor": cursor} if cursor else {})})
        assert page.status_code == 200, page.text
        found += [item["message_id"] for item in page.json["items"]]
        cursor = page.json["next"]
        if cursor is None:
            return found


def test_a_page_shows_what_is_plain_and_nothing_that_is_sealed(cast: Cast, shelf: Shelf) -> None:
    shelf.put("a secret body", sender="+4917012345678", correlation_id="order 7")
    answer = cast.get(PATH, "user")
    [item] = answer.json["items"]
    assert item.keys() == {
        "message_id", "client_id", "topic", "priority", "status", "created_at", "stored_at", "due_at", "expires_at",
        "routed", "attempts", "size", "correlation_id", "traceparent", "alias_of",
    }  # fmt: skip
    assert (item["client_id"], item["priority"], item["size"]) == ("owner", "normal", 13)
    assert datetime.fromisoformat(item["created_at"]).utcoffset() == timedelta(0)
    assert "secret" not in answer.text
    assert "+49170" not in answer.text
    assert audited("message.open") == []


@pytest.mark.parametrize("limit", [1, 2, 7, 200])
@pytest.mark.parametrize("order", ["desc", "asc"])
def test_pages_have_every_message_once_in_order(cast: Cast, shelf: Shelf, limit: int, order: str) -> None:
    made = [shelf.put() for _ in range(7)]
    expected = made if order == "asc" else made[::-1]
    assert walk(cast, limit=limit, order=order) == expected


def test_messages_that_come_meanwhile_do_not_shift_the_pages(cast: Cast, shelf: Shelf) -> None:
    made = [shelf.put() for _ in range(4)]
    first = cast.get(PATH, "user", params={"limit": 2})
    shelf.put()
    second = cast.get(PATH, "user", params={"limit": 2, "cursor": first.json["next"]})
    assert [item["message_id"] for item in first.json["items"] + second.json["items"]] == made[::-1]


def test_filters(cast: Cast, shelf: Shelf) -> None:
    mine, theirs = shelf.put(), shelf.put(client_id="other")
    failed = shelf.put(status="failed")
    assert walk(cast, client="other") == [theirs]
    assert walk(cast, status="failed") == [failed]
    assert walk(cast, status="delivered", limit=1) == [theirs, mine]
    assert walk(cast, client="nobody") == []


@pytest.mark.parametrize("status", ["scheduled", "processing"])
@pytest.mark.parametrize("order", ["desc", "asc"])
def test_what_has_a_time_to_come_is_listed_by_it(cast: Cast, shelf: Shelf, status: str, order: str) -> None:
    now = clock.now()
    due = {hours: shelf.put(status=status, due_at=now + timedelta(hours=hours)) for hours in (3, 1, 2)}
    same = shelf.put(status=status, due_at=now + timedelta(hours=2))
    expected = [due[1], due[2], same, due[3]]
    assert walk(cast, status=status, limit=1, order=order) == (expected if order == "asc" else expected[::-1])


def test_a_range_of_time(cast: Cast, shelf: Shelf) -> None:
    noon = clock.now().replace(microsecond=0) - timedelta(hours=3)
    made = [shelf.put(id=ids.floor(noon + timedelta(minutes=minute))) for minute in range(4)]
    span = {"since": (noon + timedelta(minutes=1)).isoformat(), "until": (noon + timedelta(minutes=3)).isoformat()}
    assert walk(cast, **span) == [made[2], made[1]]
    assert walk(cast, client="owner", limit=1, order="asc", **span) == [made[1], made[2]]
    assert walk(cast, status="delivered", **span) == [made[2], made[1]]


@pytest.mark.parametrize(
    "params",
    [
        {"topic": "orders"},
        {"client": "owner", "status": "failed"},
        {"status": "scheduled", "since": "2026-01-01T00:00:00Z"},
    ],
)
def test_what_no_index_serves_is_refused_with_what_one_does(cast: Cast, params: dict[str, str]) -> None:
    document = assert_problem(cast.get(PATH, "user", params=params), 400, "filter-not-indexed")
    assert "`client` or `status`" in document["detail"] or "due_at" in document["detail"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit"), ("limit=1.0", "limit"), ("limit=1e1", "limit"),
        ("limit=+5", "limit"), ("limit=", "limit"), ("limit=1&limit=2", "limit"), ("limit=99999999999999999999", "limit"),
        ("order=up", "order"), ("status=queued", "status"), ("status=Failed", "status"), ("client=A", "client"),
        ("client=a%0A", "client"), ("topic=a%0A", "topic"), ("client=%00", "client"), ("since=yesterday", "since"),
        ("since=2026-02-30T00:00:00Z", "since"), ("since=2026-01-01T00:00:00", "since"), ("since=1700000000", "since"),
        ("cursor=!", "cursor"), ("cursor=AAAA", "cursor"), ("cursor=" + "A" * 32, "cursor"), ("unknown=1", "unknown"),
        ("client=null%22", "client"), ("offset=5", "offset"),
    ],
)  # fmt: skip
def test_bad_parameters_are_named(cast: Cast, query: str, field: str) -> None:
    assert assert_problem(cast.get(PATH, "user", query_string=query), 400, "invalid-parameter")["field"] == field


def test_a_range_from_before_ids_is_everything(cast: Cast, shelf: Shelf) -> None:
    made = shelf.put()
    assert walk(cast, since="0001-01-01T00:00:00Z") == [made]
    assert walk(cast, until="0001-01-01T00:00:00Z") == []
    assert walk(cast, since="9999-12-31T23:59:59Z") == []


def test_a_cursor_of_the_other_order_is_refused(cast: Cast, shelf: Shelf) -> None:
    for _ in range(2):
        shelf.put(status="scheduled", due_at=clock.now())
        shelf.put()
    by_due = cast.get(PATH, "user", params={"status": "scheduled", "limit": 1}).json["next"]
    by_id = cast.get(PATH, "user", params={"limit": 1}).json["next"]
    for params in ({"cursor": by_due}, {"cursor": by_id, "status": "scheduled"}):
        assert_problem(cast.get(PATH, "user", params=params), 400, "invalid-parameter")


@pytest.mark.parametrize(("role", "status"), [("user", 200), ("operator", 200), ("admin", 200), ("user_manager", 403)])
def test_who_may(cast: Cast, role: str, status: int) -> None:
    assert cast.get(PATH, role).status_code == status


def test_cleanup_between_the_two_queries_ends_nothing_early(cast: Cast, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [shelf.put() for _ in range(3)]
    real = Message.select

    def select_then_lose(*columns: Any) -> Any:
        if len(columns) > 1:
            Message.delete().where(Message.id == ids.parse(made[2])).execute()
        return real(*columns)

    monkeypatch.setattr(Message, "select", select_then_lose)
    page = cast.get(PATH, "user", params={"limit": 2}).json
    assert [item["message_id"] for item in page["items"]] == [made[1]]
    assert page["next"] is not None
