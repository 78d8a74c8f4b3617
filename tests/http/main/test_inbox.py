"""People's own inboxes by API."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from support.cast import Cast, Shelf, assert_problem, audited

from messagebroker.db.connection import database
from messagebroker.db.models import InboxItem, Message, Subscription
from messagebroker.ops import clock, inbox

PATH = "/api/v1/inbox"


@pytest.fixture
def subscription() -> int:
    made = Subscription.create(
        name="for people", channel="inbox", topics='["*"]', config="{}", created_at=clock.now(), changed_at=clock.now()
    )
    return int(made.id)


def put(cast: Cast, shelf: Shelf, number: int, *, role: str = "user", subscription: int = 1) -> list[str]:
    """Messages in somebody's inbox, the newest last."""
    made = [shelf.put(f"body {n}", topic=f"topic.{n}") for n in range(number)]
    inbox.add([UUID(one).bytes for one in made], [cast.person(role).id], subscription)
    return made


def test_ones_own_newest_first_page_by_page(cast: Cast, shelf: Shelf, subscription: int) -> None:
    made = put(cast, shelf, 5, subscription=subscription)
    put(cast, shelf, 2, role="admin")
    seen: list[Any] = []
    query = {"limit": "2"}
    while True:
        page = cast.get(PATH, "user", params=query).json
        seen += page["items"]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert [item["message"]["message_id"] for item in seen] == made[::-1]
    first = seen[0]
    assert (first["subscription"], first["subscription_id"], first["read_at"]) == ("for people", subscription, None)
    assert (first["message"]["topic"], first["message"]["client_id"]) == ("topic.4", "owner")
    assert "body" not in first["message"]
    assert audited("message.open") == []


def test_reading_and_not_reading(cast: Cast, shelf: Shelf) -> None:
    put(cast, shelf, 3)

    def unread() -> list[int]:
        listed = [item["id"] for item in cast.get(PATH, "user", params={"unread": "true"}).json["items"]]
        assert cast.get(f"{PATH}/unread", "user").json == {"unread": len(listed)}
        return listed

    newest, middle, oldest = unread()
    marked = cast.post(f"{PATH}/{middle}/read", "user").json
    assert marked["read_at"] is not None
    assert cast.post(f"{PATH}/{middle}/read", "user").json["read_at"] == marked["read_at"], "the first time stays"
    assert unread() == [newest, oldest]
    assert cast.post(f"{PATH}/{middle}/unread", "user").json["read_at"] is None
    assert unread() == [newest, middle, oldest]
    assert cast.post(f"{PATH}/read-all", "user", json={"up_to": middle}).json == {"marked": 2}
    assert unread() == [newest], "what came after the person looked stays"
    assert_problem(cast.post(f"{PATH}/read-all", "user", json={}), 422, "invalid-field")


def test_many_are_marked_in_parts(cast: Cast, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "_CHUNK", 2)
    monkeypatch.setattr(inbox, "MOST_COUNTED", 4)
    put(cast, shelf, 5)
    put(cast, shelf, 1, role="admin")
    assert cast.get(f"{PATH}/unread", "user").json == {"unread": 4}
    last = cast.get(PATH, "user").json["items"][0]["id"]
    assert cast.post(f"{PATH}/read-all", "user", json={"up_to": last}).json == {"marked": 5}
    assert cast.get(f"{PATH}/unread", "user").json == {"unread": 0}
    assert cast.get(f"{PATH}/unread", "admin").json == {"unread": 1}


def test_opening_is_recorded_and_leaves_it_unread(cast: Cast, shelf: Shelf) -> None:
    [message] = put(cast, shelf, 1)
    assert_problem(cast.get(f"/api/v1/messages/{message}", "user"), 404, "not-found")
    [item] = cast.get(PATH, "user").json["items"]
    opened = cast.get(f"{PATH}/{item['id']}", "user").json
    assert opened["item"] == item
    assert (opened["message"]["body"], opened["message"]["metadata"]) == ("body 0", {"colour": "red"})
    [row] = audited("message.open")
    assert (row.actor, row.object_id) == ("user:user@example.org", message)
    for who in ("admin", "operator"):
        assert_problem(cast.get(f"{PATH}/{item['id']}", who), 404, "not-found")
    assert len(audited("message.open")) == 1


@pytest.mark.parametrize("path", ["0", "x", "٣", "9" * 19, "-1"])
def test_what_is_no_item(cast: Cast, path: str) -> None:
    assert_problem(cast.get(f"{PATH}/{path}", "user"), 404, "not-found")


def test_wrong_cursors(cast: Cast) -> None:
    assert_problem(cast.get(PATH, "user", params={"cursor": "abc"}), 400, "invalid-parameter")


def test_items_go_with_their_message(cast: Cast, shelf: Shelf) -> None:
    gone, stays = put(cast, shelf, 2)
    with database.atomic():
        Message.delete().where(Message.id == UUID(gone).bytes).execute()
    [left] = cast.get(PATH, "user").json["items"]
    assert left["message"]["message_id"] == stays
    assert InboxItem.select().count() == 1
