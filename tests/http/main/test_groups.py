from __future__ import annotations

import json
from typing import Any

import pytest
from falcon import testing
from support.cast import PASSWORD, TEST, Cast, assert_problem, audited

from messagebroker.db.models import Client
from messagebroker.ops import clock, group_members, groups, subscriptions, users

PATH = "/api/v1/groups"


@pytest.fixture
def team(cast: Cast) -> int:
    """Managed by `manager`, with the member `user`; `member2` is in too, `outsider` is not."""
    for name in ("manager", "member2", "outsider"):
        users.create(f"{name}@example.org", "user", password=PASSWORD, actor=TEST)
    made = groups.create("team", actor=TEST)
    groups.alter(made.id, manager="manager@example.org", topics=["orders"], actor=TEST)
    for name in ("user", "member2"):
        group_members.add_member(made.id, f"{name}@example.org", actor=TEST)
    return made.id


def call(cast: Cast, method: str, path: str, role: str, document: Any = None, **more: Any) -> testing.Result:
    given = {} if document is None else {"json": document}
    return cast.call(method, path, token=cast.token(role), **given, **more)


def test_making_and_changing(cast: Cast) -> None:
    made = cast.post(PATH, "user_manager", json={"name": "7b", "description": "the class"})
    assert made.status_code == 201
    path = made.headers["location"]
    change = {"manager": "user@example.org", "topics": ["b", "a"]}
    changed = call(cast, "PATCH", path, "admin", change, headers={"If-Match": made.headers["etag"]})
    assert changed.json == {
        "id": made.json["id"], "name": "7b", "description": "the class", "manager": "user@example.org", "topics": ["a", "b"],
        "members": 0,
    }  # fmt: skip
    late = call(cast, "PATCH", path, "admin", {"name": "8b"}, headers={"If-Match": made.headers["etag"]})
    assert_problem(late, 412, "changed-meanwhile")
    assert_problem(call(cast, "DELETE", path, "admin", headers={"If-Match": made.headers["etag"]}), 412, "changed-meanwhile")
    assert call(cast, "PATCH", path, "admin", {"manager": None}).json["manager"] is None
    assert call(cast, "DELETE", path, "admin").status_code == 204
    assert_problem(cast.get(path, "admin"), 404, "not-found")


def test_who_manages_all_sees_all_and_others_their_own(cast: Cast, team: int) -> None:
    other = groups.create("other", actor=TEST).id
    for role, seen in (
        ("user_manager", [team, other]),
        ("user", [team]),
        ("manager", [team]),
        ("outsider", []),
        ("operator", []),
    ):
        assert [group["id"] for group in cast.get(PATH, role).json["items"]] == seen, role
    first = cast.get(PATH, "admin", params={"limit": 1}).json
    assert [group["id"] for group in cast.get(PATH, "admin", params={"cursor": first["next"]}).json["items"]] == [other]


def test_to_an_outsider_a_group_is_not_there(cast: Cast, team: int) -> None:
    unknown = cast.get(f"{PATH}/{team + 7}", "outsider").json
    for role in ("outsider", "operator"):
        for method, path in (("GET", ""), ("GET", "/members"), ("POST", "/members"), ("DELETE", "/members/1")):
            answer = call(cast, method, f"{PATH}/{team}{path}", role, {"email": "a@b.c"} if method == "POST" else None)
            assert_problem(answer, 404, "not-found")
            assert answer.json == unknown


def test_members_see_each_other_and_change_nothing(cast: Cast, team: int) -> None:
    path = f"{PATH}/{team}"
    assert cast.get(path, "user").json["topics"] == ["orders"]
    emails = [member["email"] for member in cast.get(path + "/members", "user").json["items"]]
    assert emails == ["user@example.org", "member2@example.org"]
    second = cast.person("member2").id
    assert_problem(call(cast, "POST", path + "/members", "user", {"email": "outsider@example.org"}), 403, "forbidden")
    assert_problem(call(cast, "DELETE", f"{path}/members/{second}", "user"), 403, "forbidden")
    for role in ("user", "manager"):
        assert_problem(call(cast, "PATCH", path, role, {"topics": ["secret"]}), 403, "forbidden")
        assert_problem(call(cast, "DELETE", path, role), 403, "forbidden")
        assert_problem(call(cast, "POST", PATH, role, {"name": "mine"}), 403, "forbidden")
    assert call(cast, "DELETE", f"{path}/members/{cast.person('user').id}", "user").status_code == 204, "who leaves, leaves"
    assert_problem(cast.get(path, "user"), 404, "not-found")


def test_its_manager_puts_people_in_and_takes_them_out(cast: Cast, team: int) -> None:
    path = f"{PATH}/{team}/members"
    added = call(cast, "POST", path, "manager", {"email": "Outsider@example.org"})
    assert added.json == {"id": cast.person("outsider").id, "email": "outsider@example.org"}
    assert cast.get(f"{PATH}/{team}", "outsider").status_code == 200
    assert call(cast, "DELETE", f"{path}/{added.json['id']}", "manager").status_code == 204
    assert_problem(call(cast, "DELETE", f"{path}/{added.json['id']}", "manager"), 404, "not-found")
    assert_problem(call(cast, "POST", path, "manager", {"email": "nobody@example.org"}), 404, "not-found")


def test_who_tries_addresses_is_slowed_down_and_leaves_a_trace(cast: Cast, team: int) -> None:
    path = f"{PATH}/{team}/members"

    def add(role: str, email: str) -> int:
        return call(cast, "POST", path, role, {"email": email}).status_code

    for _ in range(25):
        assert add("manager", "outsider@example.org") == 200, "a class is put in without being held up"
    tried = [add("manager", f"guess{number}@example.org") for number in range(22)]
    assert tried[:20] == [404] * 20
    assert tried[20:] == [429] * 2
    assert add("manager", "outsider@example.org") == 429
    assert [add("user_manager", f"guess{number}@example.org") for number in range(25)] == [404] * 25, "sees all users anyway"
    rows = [(row.actor, json.loads(row.details)) for row in audited("group.add-member-refused")]
    assert rows[0] == ("user:manager@example.org", {"name": "team", "address": "guess0@example.org"})
    assert len(rows) == 20 + 25
    add("admin", "my secret password")
    assert json.loads(audited("group.add-member-refused")[-1].details)["address"] == "no address"


def test_who_tries_addresses_is_slowed_down_everywhere(online: Cast) -> None:
    made = groups.create("team", actor=TEST)
    groups.alter(made.id, manager="user@example.org", actor=TEST)
    path, users_token = f"{PATH}/{made.id}/members", online.token("user")
    tried = [
        online.call("POST", path, token=users_token, json={"email": f"guess{n}@example.org"}, address=f"192.0.2.{n}")
        for n in range(11)
    ]
    assert [answer.status_code for answer in tried] == [404] * 10 + [429]
    assert tried[-1].headers["retry-after"] == "1"


def test_pages_of_members(cast: Cast, team: int) -> None:
    path = f"{PATH}/{team}/members"
    first = cast.get(path, "manager", params={"limit": 1}).json
    rest = cast.get(path, "manager", params={"limit": 1, "cursor": first["next"]}).json
    assert [first["items"][0]["email"], rest["items"][0]["email"], rest["next"]] == [
        "user@example.org", "member2@example.org", None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("document", "field"),
    [({"name": ""}, "name"), ({"id": 7}, "id"), ({"members": 3}, "members"), ({"topics": ["a b"]}, "topics[0]"),
     ({"topics": "orders"}, "topics"), ({"name": None}, "name")],
)  # fmt: skip
def test_bad_fields_are_named(cast: Cast, team: int, document: dict[str, Any], field: str) -> None:
    assert assert_problem(call(cast, "PATCH", f"{PATH}/{team}", "admin", document), 422, "invalid-field")["field"] == field


def test_line_ends_are_refused(cast: Cast, team: int) -> None:
    for document in ({"name": "a\nb"}, {"topics": ["a\n"]}, {"description": "a\x00"}):
        assert_problem(call(cast, "PATCH", f"{PATH}/{team}", "admin", document), 422, "invalid-field")
    assert_problem(cast.post(PATH, "admin", json={"name": "\u202e"}), 422, "invalid-field")


def test_nobody_gives_a_group_more_to_read_than_they_may_read(cast: Cast) -> None:
    """Else whoever manages groups would read everything by joining one."""
    path = cast.post(PATH, "user_manager", json={"name": "7b"}).headers["location"]
    refused = call(cast, "PATCH", path, "user_manager", {"topics": ["payroll"]})
    assert assert_problem(refused, 403, "forbidden")["permission"] == "messages.list"
    assert call(cast, "PATCH", path, "admin", {"topics": ["payroll"]}).status_code == 200
    assert call(cast, "PATCH", path, "user_manager", {"topics": []}).status_code == 200
    other = groups.create("of the manager", actor=TEST).id
    groups.alter(other, manager="user_manager@example.org", topics=["lessons"], actor=TEST)
    assert call(cast, "PATCH", path, "user_manager", {"topics": ["lessons"]}).json["topics"] == ["lessons"]


@pytest.mark.parametrize("has", ["topics", "clients", "inboxes"])
def test_nobody_puts_themselves_where_they_read_more_than_they_may(cast: Cast, has: str) -> None:
    board = groups.create("board", actor=TEST).id
    if has == "topics":
        groups.set_topics(board, ["payroll"], actor=TEST)
    elif has == "inboxes":
        given = {"name": "pay", "channel": "inbox", "topics": ["payroll"], "config": {"group": board}}
        subscriptions.create(cast.settings, given, TEST)
    else:
        Client.insert(name="payroll", group=board, created_at=clock.now()).execute()
    path, me = f"{PATH}/{board}", {"email": " User_Manager@example.org"}
    for method, where, document in (
        ("POST", f"{path}/members", me),
        ("PATCH", path, {"manager": "user_manager@example.org"}),
        ("PATCH", path, {"manager": "USER_MANAGER@example.org ", "description": "x"}),
    ):
        refused = assert_problem(call(cast, method, where, "user_manager", document), 403, "forbidden")
        assert refused["permission"] == "messages.list"
    details = groups.find(board)
    assert (details.members, details.manager, details.description) == (0, None, "")

    for method, where, document in (("POST", f"{path}/members", me), ("PATCH", path, {"manager": me["email"].strip()})):
        assert call(cast, method, where, "admin", document).status_code == 200
        assert call(cast, method, where, "user_manager", document).status_code == 200  # who is in may stay


def test_they_join_what_reads_no_more_than_they_do_and_put_others_in(cast: Cast) -> None:
    mine = groups.create("mine", actor=TEST).id
    groups.alter(mine, manager="user_manager@example.org", topics=["lessons"], actor=TEST)
    other = groups.create("other", actor=TEST).id
    groups.set_topics(other, ["lessons", "payroll"], actor=TEST)
    path = f"{PATH}/{other}"
    assert call(cast, "POST", f"{path}/members", "user_manager", {"email": "user@example.org"}).status_code == 200
    both = {"manager": "user_manager@example.org", "topics": ["lessons"]}  # the foreign topic goes with it
    assert call(cast, "PATCH", path, "user_manager", both).json["topics"] == ["lessons"]
    assert call(cast, "POST", f"{path}/members", "user_manager", {"email": "user_manager@example.org"}).status_code == 200
