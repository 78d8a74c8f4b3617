"""What plain users see of the messages: their clients', their groups' and their groups' topics; nothing else, at any depth."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from support.cast import Cast, Shelf, assert_problem, audited

from messagebroker.db.models import Client, Group, GroupMember, GroupTopic, Message, MessageAlias
from messagebroker.ops import clock, filters, ids

PATH = "/api/v1/messages"


def client(name: str, *, owner: str | None = None, group: Group | None = None) -> None:
    Client.insert(name=name, owner=owner, group=group, created_at=clock.now()).execute()


def group(name: str, *topics: str, manager: Any = None, members: tuple[Any, ...] = ()) -> Group:
    made = Group.create(name=name, manager=manager, created_at=clock.now())
    for topic in topics:
        GroupTopic.insert(group=made, topic=topic, added_at=clock.now()).execute()
    for member in members:
        GroupMember.insert(group=made, user=member, added_at=clock.now()).execute()
    return made


def leave(left: Group, member: Any) -> None:
    GroupMember.delete().where(GroupMember.group == left, GroupMember.user == member).execute()


def page(cast: Cast, **params: Any) -> Any:
    answer = cast.get(PATH, "user", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json


def walk(cast: Cast, **params: Any) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        part = page(cast, **params, **({"cursor": cursor} if cursor else {}))
        found += [item["message_id"] for item in part["items"]]
        cursor = part["next"]
        if cursor is None:
            return found


def test_nothing_is_ones_own_at_first(cast: Cast, shelf: Shelf) -> None:
    message_id = shelf.put()
    assert page(cast) == {"items": [], "next": None}
    for params in ({"client": "owner"}, {"topic": "orders"}, {"status": "delivered"}, {"client": "nobody"}):
        assert page(cast, **params) == {"items": [], "next": None}
    for path in (f"{PATH}/{message_id}", f"{PATH}/{message_id}?body=true", f"{PATH}/{message_id}/body"):
        there = cast.get(path, "user")
        never = cast.get(path.replace(message_id, ids.text(ids.new())), "user")
        assert_problem(there, 404, "not-found")
        assert there.json.keys() == never.json.keys()
        assert there.json["detail"].replace(message_id, "") == never.json["detail"].replace(never.json["detail"].split()[1], "")
    assert audited("message.open") == []


def test_ones_clients_ones_groups_clients_and_ones_groups_topics(cast: Cast, shelf: Shelf) -> None:
    user = cast.person("user")
    client("mine", owner=user.email)
    client("strange", owner="other@example.org")
    client("ours", group=group("team", members=(user,)))
    client("led", group=group("class", manager=user))
    client("theirs", group=group("others", "secret"))
    group("readers", "news", "returns", members=(user,))
    seen = [shelf.put(client_id=name) for name in ("mine", "ours", "led")]
    seen += [
        shelf.put(client_id="strange", topic="news"),
        shelf.put(client_id="mine", topic="news"),
        shelf.put(topic="returns"),
    ]
    unseen = [shelf.put(client_id="strange"), shelf.put(client_id="theirs", topic="secret"), shelf.put(topic="News")]
    assert walk(cast, limit=1) == seen[::-1], "one that is inside twice is listed once"
    assert walk(cast, order="asc", limit=2) == seen
    for message_id in seen:
        assert cast.get(f"{PATH}/{message_id}", "user").json["message_id"] == message_id
        assert cast.get(f"{PATH}/{message_id}/body", "user").json["body"] == "hello"
    assert [row.object_id for row in audited("message.open")] == seen
    for message_id in unseen:
        assert_problem(cast.get(f"{PATH}/{message_id}/body", "user"), 404, "not-found")


@pytest.mark.parametrize("limit", [1, 3, 7, 200])
@pytest.mark.parametrize("order", ["desc", "asc"])
def test_every_depth_has_every_message_once(cast: Cast, shelf: Shelf, limit: int, order: str) -> None:
    user = cast.person("user")
    for name in ("a", "b"):
        client(name, owner=user.email)
    group("readers", "news", "orders", members=(user,))
    made = [
        shelf.put(client_id=name, topic=topic, status=status)
        for name in ("a", "b", "c")
        for topic in ("news", "orders", "secret")
        for status in ("delivered", "failed", "pending")
    ]
    rows = {ids.text(bytes(row.id)): row for row in Message.select()}
    inside = [one for one in made if rows[one].client_id in "ab" or rows[one].topic != "secret"]
    assert walk(cast, limit=limit, order=order) == (inside if order == "asc" else inside[::-1])
    failed = [one for one in inside if rows[one].status == "failed"]
    assert walk(cast, limit=limit, order=order, status="failed") == (failed if order == "asc" else failed[::-1])


def test_filters_within_ones_own(cast: Cast, shelf: Shelf) -> None:
    user = cast.person("user")
    client("mine", owner=user.email)
    group("readers", "news", members=(user,))
    first = shelf.put(client_id="mine", status="failed", id=ids.floor(clock.now() - timedelta(hours=2)))
    news, due = shelf.put(topic="news"), shelf.put(topic="news", status="scheduled", due_at=clock.now())
    shelf.put(status="failed")
    assert walk(cast, client="mine") == walk(cast, client="mine", status="failed") == walk(cast, status="failed") == [first]
    assert walk(cast, topic="news", limit=1) == [due, news]
    assert walk(cast, status="scheduled", until=(clock.now() + timedelta(hours=1)).isoformat()) == [due]
    assert walk(cast, since=(clock.now() - timedelta(hours=1)).isoformat()) == [due, news]
    for params in ({"client": "owner"}, {"topic": "orders"}, {"sender": "+491511"}, {"correlation_id": "7"}):
        document = assert_problem(cast.get(PATH, "user", params=params), 400, "filter-not-indexed")
        assert "`client`" in document["detail"]


@pytest.mark.parametrize("name", ["client", "topic"])
def test_a_refused_filter_does_not_tell_whether_there_is_such_a_client(cast: Cast, shelf: Shelf, name: str) -> None:
    client("mine", owner=cast.person("user").email)
    group("readers", "news", members=(cast.person("user"),))
    client("owner")
    shelf.put()
    known = {"client": "owner", "topic": "orders"}[name]
    there, never = (cast.get(PATH, "user", params={name: value}) for value in (known, "never-seen"))
    assert (there.status_code, there.json) == (never.status_code, never.json)


def test_who_leaves_a_group_between_two_pages_sees_nothing_of_it_on_the_second(cast: Cast, shelf: Shelf) -> None:
    user = cast.person("user")
    left = group("readers", "news", members=(user,))
    client("ours", group=left)
    client("mine", owner=user.email)
    made = [shelf.put(client_id="ours"), shelf.put(topic="news"), shelf.put(client_id="mine"), shelf.put(client_id="ours")]
    first = page(cast, limit=1)
    assert [item["message_id"] for item in first["items"]] == made[3:]
    leave(left, user)
    second = page(cast, limit=5, cursor=first["next"])
    assert [item["message_id"] for item in second["items"]] == [made[2]]
    assert_problem(cast.get(f"{PATH}/{made[3]}", "user"), 404, "not-found")


def test_the_owner_is_compared_exactly(cast: Cast, shelf: Shelf) -> None:
    for number, owner in enumerate(("üser@example.org", "user@example.org.evil", "User@example.org", "%", "user@example.org ")):
        client(f"c{number}", owner=owner)
        shelf.put(client_id=f"c{number}")
    assert walk(cast) == []


def test_an_alias_is_seen_with_its_message(cast: Cast, shelf: Shelf) -> None:
    client("mine", owner=cast.person("user").email)
    for owner, status in (("mine", 200), ("other", 404)):
        stored, later = shelf.put(client_id=owner), ids.new()
        MessageAlias.insert(id=later, message=ids.parse(stored), created_at=clock.now()).execute()
        assert cast.get(f"{PATH}/{ids.text(later)}", "user").status_code == status


def test_too_many_of_them_are_refused_with_what_to_do(cast: Cast, shelf: Shelf) -> None:
    user = cast.person("user")
    for number in range(filters.MOST_RANGES + 1):
        client(f"c{number}", owner=user.email)
    message_id = shelf.put(client_id="c7")
    document = assert_problem(cast.get(PATH, "user"), 400, "filter-not-indexed")
    assert "name one of them" in document["detail"]
    assert walk(cast, client="c7") == [message_id]
    Client.delete().where(Client.name == "c0").execute()
    assert walk(cast) == [message_id], "as many as are allowed"
