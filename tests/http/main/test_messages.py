from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from support.cast import Cast, Shelf, assert_problem, audited

from messagebroker.db.models import Message
from messagebroker.ops import clock, ids, keyring

PATH = "/api/v1/messages"


def walk(cast: Cast, **params: Any) -> list[str]:
    """Every message of the list, page by page."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = cast.get(PATH, "operator", params={**params, **({"cursor": cursor} if cursor else {})})
        assert page.status_code == 200, page.text
        found += [item["message_id"] for item in page.json["items"]]
        cursor = page.json["next"]
        if cursor is None:
            return found


def test_a_page_shows_what_is_plain_and_nothing_that_is_sealed(cast: Cast, shelf: Shelf) -> None:
    shelf.put("a secret body", sender="+4917012345678", correlation_id="order 7")
    answer = cast.get(PATH, "operator")
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
    first = cast.get(PATH, "operator", params={"limit": 2})
    shelf.put()
    second = cast.get(PATH, "operator", params={"limit": 2, "cursor": first.json["next"]})
    assert [item["message_id"] for item in first.json["items"] + second.json["items"]] == made[::-1]


def test_filters(cast: Cast, shelf: Shelf) -> None:
    mine, theirs = shelf.put(), shelf.put(client_id="other")
    failed = shelf.put(status="failed")
    assert walk(cast, client="other") == [theirs]
    assert walk(cast, status="failed") == [failed]
    assert walk(cast, status="delivered", limit=1) == [theirs, mine]
    assert walk(cast, client="nobody") == []


def test_filters_together_and_by_what_is_sealed(cast: Cast, shelf: Shelf) -> None:
    key = keyring.sender_key(cast.settings)
    put = shelf.put
    put(client_id="other", topic="returns", status="failed")
    failed = put(status="failed", sender_hash=keyring.sender_hash(key, "+491511"), correlation_id="Order 7")
    other = put(topic="returns", sender_hash=keyring.sender_hash(key, "+491512"), correlation_id="order 7")
    due = [put(status="scheduled", due_at=clock.now() + timedelta(hours=hours)) for hours in (2, 1)]
    assert walk(cast, client="owner", status="failed", limit=1) == [failed]
    assert walk(cast, topic="returns", status="delivered", limit=1) == [other]
    assert walk(cast, topic="orders", limit=1, order="asc") == [failed, *due]
    assert walk(cast, topic="orders", limit=1) == [*due[::-1], failed]
    assert walk(cast, sender="+491511", limit=1) == [failed]
    assert walk(cast, sender="+49151") == []
    assert walk(cast, correlation_id="order 7") == [other], "exactly, whatever the database thinks of case"
    assert walk(cast, client="owner", status="scheduled", limit=1, since="2020-01-01T00:00:00Z") == due[::-1], "by id"


SQL = ("' OR '1'='1", "x'; DROP TABLE messages; --", '" OR 1=1 --', "\\' OR 1=1 -- ", "%", "_", "?", "%s", "x UNION SELECT 1")


@pytest.mark.parametrize("text", SQL)
@pytest.mark.parametrize("name", ["correlation_id", "sender", "client", "topic", "status", "cursor", "since"])
def test_sql_in_a_filter_is_a_value(cast: Cast, shelf: Shelf, name: str, text: str) -> None:
    shelf.put(correlation_id="order 7")
    answer = cast.get(PATH, "operator", params={name: text})
    if name in ("correlation_id", "sender"):
        assert answer.json == {"items": [], "next": None}
    else:
        assert assert_problem(answer, 400, "invalid-parameter")["field"] == name
    assert Message.select().count() == 1


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
        {"client": "owner", "topic": "orders"},
        {"client": "owner", "sender": "+491511"},
        {"topic": "orders", "status": "failed", "client": "owner"},
        {"sender": "+491511", "correlation_id": "7"},
        {"correlation_id": "7", "status": "failed"},
        {"status": "scheduled", "since": "2026-01-01T00:00:00Z"},
    ],
)
def test_what_no_index_serves_is_refused_with_what_one_does(cast: Cast, params: dict[str, str]) -> None:
    document = assert_problem(cast.get(PATH, "operator", params=params), 400, "filter-not-indexed")
    assert "`client` with `status`" in document["detail"] or "due_at" in document["detail"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit"), ("limit=1.0", "limit"), ("limit=1e1", "limit"),
        ("limit=+5", "limit"), ("limit=", "limit"), ("limit=1&limit=2", "limit"), ("limit=99999999999999999999", "limit"),
        ("order=up", "order"), ("status=queued", "status"), ("status=Failed", "status"), ("client=A", "client"),
        ("client=a%0A", "client"), ("topic=a%0A", "topic"), ("client=%00", "client"), ("since=yesterday", "since"),
        ("since=2026-02-30T00:00:00Z", "since"), ("since=2026-01-01T00:00:00", "since"), ("since=1700000000", "since"),
        ("cursor=!", "cursor"), ("cursor=AAAA", "cursor"), ("cursor=" + "A" * 32, "cursor"), ("unknown=1", "unknown"),
        ("client=null%22", "client"), ("correlation_id=", "correlation_id"), ("correlation_id=" + "x" * 129, "correlation_id"),
        ("sender=", "sender"), ("sender=a%00", "sender"), ("client=a&client=b", "client"), ("offset=5", "offset"),
    ],
)  # fmt: skip
def test_bad_parameters_are_named(cast: Cast, query: str, field: str) -> None:
    assert assert_problem(cast.get(PATH, "operator", query_string=query), 400, "invalid-parameter")["field"] == field


def test_a_range_from_before_ids_is_everything(cast: Cast, shelf: Shelf) -> None:
    made = shelf.put()
    assert walk(cast, since="0001-01-01T00:00:00Z") == [made]
    assert walk(cast, until="0001-01-01T00:00:00Z") == []
    assert walk(cast, since="9999-12-31T23:59:59Z") == []


def test_a_cursor_of_the_other_order_is_refused(cast: Cast, shelf: Shelf) -> None:
    for _ in range(2):
        shelf.put(status="scheduled", due_at=clock.now())
        shelf.put()
    by_due = cast.get(PATH, "operator", params={"status": "scheduled", "limit": 1}).json["next"]
    by_id = cast.get(PATH, "operator", params={"limit": 1}).json["next"]
    for params in ({"cursor": by_due}, {"cursor": by_id, "status": "scheduled"}):
        assert_problem(cast.get(PATH, "operator", params=params), 400, "invalid-parameter")


@pytest.mark.parametrize(("role", "seen"), [("user", 0), ("user_manager", 0), ("operator", 1), ("admin", 1)])
def test_who_sees_everybodys(cast: Cast, shelf: Shelf, role: str, seen: int) -> None:
    shelf.put()
    assert len(cast.get(PATH, role).json["items"]) == seen


def test_a_proxy_gets_the_list_of_the_client_that_it_names(cast: Cast, shelf: Shelf) -> None:
    mine, failed = shelf.put(), shelf.put(status="failed")
    shelf.put(client_id="other")
    listed = cast.get(PATH, peer="proxy", params={"client": "owner", "limit": 1})
    assert [item["message_id"] for item in listed.json["items"]] == [failed]
    after = cast.get(PATH, peer="proxy", params={"client": "owner", "cursor": listed.json["next"]})
    assert [item["message_id"] for item in after.json["items"]] == [mine]
    only = cast.get(PATH, peer="proxy", params={"client": "owner", "status": "failed"})
    assert [item["message_id"] for item in only.json["items"]] == [failed]
    assert assert_problem(cast.get(PATH, peer="proxy"), 400, "invalid-parameter")["field"] == "client"
    assert_problem(cast.get(PATH, peer="proxy", params={"client": "owner", "topic": "orders"}), 400, "filter-not-indexed")
    assert_problem(cast.get(PATH, peer="portal", params={"client": "owner"}), 401, "token-required")


def test_cleanup_between_the_two_queries_ends_nothing_early(cast: Cast, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [shelf.put() for _ in range(3)]
    real = Message.select

    def select_then_lose(*columns: Any) -> Any:
        if len(columns) > 1:
            Message.delete().where(Message.id == ids.parse(made[2])).execute()
        return real(*columns)

    monkeypatch.setattr(Message, "select", select_then_lose)
    page = cast.get(PATH, "operator", params={"limit": 2}).json
    assert [item["message_id"] for item in page["items"]] == [made[1]]
    assert page["next"] is not None
