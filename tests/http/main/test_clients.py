"""/api/v1/clients: reading, registering, changing; what people may see, and what the proxies are told."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import peewee as pw
import pytest
from support.cast import TEST, Cast, assert_problem, audited
from support.pki import published
from support.plans import explain

from messagebroker.db.models import Certificate, Client, Group, GroupMember
from messagebroker.ops import clients, clock
from messagebroker.ops.fields import WrongField

PATH = "/api/v1/clients"


def put(name: str, **values: Any) -> None:
    Client.insert(name=name, created_at=clock.now(), **values).execute()


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [client["name"] for client in answer.json["items"]]


def patch(cast: Cast, name: str, document: Any, **headers: str) -> Any:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return cast.call("PATCH", f"{PATH}/{name}", token=cast.token("admin"), json=document, headers=named)


# reading


def test_every_client_by_name_with_the_end_of_its_certificate(cast: Cast) -> None:
    now = clock.now()
    for name in ("zeta", "acme", "b-2"):
        put(name)
    Client.update(topics=json.dumps(["orders.*"]), rate=10, disabled_at=now).where(Client.name == "acme").execute()
    for serial, days, revoked in (("1", 30, None), ("2", 300, None), ("3", 900, now)):
        Certificate.insert(
            serial=serial, name="acme", kind="client", not_before=now, not_after=now + timedelta(days=days), pem="x",
            revoked_at=revoked,
        ).execute()  # fmt: skip
    first = cast.get(PATH, "operator", params={"limit": 2}).json
    second = cast.get(PATH, "operator", params={"limit": 2, "cursor": first["next"]}).json
    assert [client["name"] for client in first["items"] + second["items"]] == ["acme", "b-2", "zeta"]
    assert second["next"] is None
    acme, b2 = first["items"]
    assert (acme["topics"], acme["rate"], acme["max_batch"]) == (["orders.*"], 10, None)
    assert acme["disabled_at"] is not None
    assert acme["certificate_ends"].startswith((now + timedelta(days=300)).strftime("%Y-%m-%dT%H:%M:%S"))
    assert acme["certificate_ends"].endswith("Z")
    assert b2["certificate_ends"] is None


@pytest.mark.parametrize("query", ["cursor=AAAA", "cursor=bv8", "cursor=A", "name=acme", "group_id=0", "group_id=x"])
def test_bad_parameters(cast: Cast, query: str) -> None:
    assert_problem(cast.get(PATH, "admin", query_string=query), 400, "invalid-parameter")


def test_filters_by_owner_and_by_group_but_not_both(cast: Cast) -> None:
    group = Group.create(name="7b", created_at=clock.now())
    put("a", owner="user@example.org")
    put("b", owner="other@example.org", group=group.id)
    put("c", owner="user@example.org")
    assert names(cast.get(PATH, "operator", params={"owner": "user@example.org"})) == ["a", "c"]
    assert names(cast.get(PATH, "operator", params={"group_id": group.id})) == ["b"]
    both = {"owner": "user@example.org", "group_id": group.id}
    assert_problem(cast.get(PATH, "operator", params=both), 400, "filter-not-indexed")


def test_people_see_their_own_clients_and_those_of_their_groups_at_any_depth(cast: Cast) -> None:
    user = cast.person("user")
    member, managed, foreign = (Group.create(name=name, created_at=clock.now()) for name in ("member", "managed", "foreign"))
    GroupMember.insert(group=member.id, user=user.id, added_at=clock.now()).execute()
    Group.update(manager=user.id).where(Group.id == managed.id).execute()
    expected = []
    for number in range(12):
        owner = ("user@example.org", "admin@example.org", None)[number % 3]
        group = (None, member.id, managed.id, foreign.id)[number % 4]
        put(f"client-{number:02}", owner=owner, group=group)
        if owner == "user@example.org" or group in (member.id, managed.id):
            expected.append(f"client-{number:02}")
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = cast.get(PATH, "user", params={"limit": 2, **cursor})
        found += names(page)
        if page.json["next"] is None:
            break
        cursor = {"cursor": page.json["next"]}
    assert found == expected
    for number in range(12):
        name = f"client-{number:02}"
        answer = cast.get(f"{PATH}/{name}", "user")
        if name in expected:
            assert answer.json["name"] == name
        else:
            assert_problem(answer, 404, "not-found")
    assert names(cast.get(PATH, "user_manager")) == []
    assert_problem(cast.get(PATH, "user", params={"owner": "admin@example.org"}), 400, "filter-not-indexed")


def test_somebody_elses_client_looks_like_none(cast: Cast) -> None:
    put("theirs", owner="admin@example.org")
    theirs, absent = cast.get(f"{PATH}/theirs", "user"), cast.get(f"{PATH}/absent", "user")
    assert theirs.json["detail"].replace("theirs", "absent") == absent.json["detail"]


@pytest.mark.parametrize("database", ["mariadb", "mysql"], indirect=True)
@pytest.mark.parametrize("filtered", [{"owner": "user@example.org"}, {"group_id": 1}, {}])
def test_every_filter_is_one_range_of_an_index(cast: Cast, database: pw.Database, filtered: dict[str, Any]) -> None:
    group = Group.create(id=1, name="g", created_at=clock.now())
    rows = [
        {
            "name": f"c{n:04}",
            "owner": f"u{n % 50}@example.org",
            "group": group.id if n % 9 == 0 else None,
            "created_at": clock.now(),
        }
        for n in range(2000)
    ]
    Client.insert_many(rows).execute()
    database.execute_sql("ANALYZE TABLE clients").fetchall()
    conditions = {"owner": Client.owner == "u7@example.org", "group_id": Client.group == group.id}
    condition = next((conditions[field] for field in filtered), None)
    for after in (None, "c0900"):
        statement, values = clients.names_in(condition, 50, after).sql()
        cursor = database.execute_sql(f"{explain()} {statement}", values)
        [plan] = [dict(zip([column[0] for column in cursor.description], row, strict=True)) for row in cursor.fetchall()]
        assert plan["key"], plan
        assert "filesort" not in (plan["Extra"] or ""), plan


# registering


def test_a_new_client_is_published_before_the_answer(online: Cast) -> None:
    wanted = {
        "name": "till-7", "owner": "User@Example.org", "topics": ["orders.*", "orders.*"], "default_topic": "orders.new",
        "rate": 5, "max_batch": 10,
    }  # fmt: skip
    answer = online.post(PATH, "admin", json=wanted)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{PATH}/till-7"
    assert answer.json["owner"] == "user@example.org"
    assert (answer.json["topics"], answer.json["note"]) == (["orders.*"], None)
    policy = published(online.settings)
    assert policy.number == answer.json["policy_number"]
    known = policy.clients["till-7"]
    assert (known.topics, known.default_topic, known.rate, known.max_batch, known.disabled) == (
        ("orders.*",), "orders.new", 5, 10, False,
    )  # fmt: skip
    [entry] = audited("client.register")
    assert (entry.actor, entry.object_id) == ("user:admin@example.org", "till-7")
    assert json.loads(entry.details)["rate"] == 5
    assert_problem(online.post(PATH, "admin", json={"name": "till-7"}), 409, "client-exists")
    shown = online.get(f"{PATH}/till-7", "admin")
    assert shown.headers["etag"] == answer.headers["etag"]
    assert online.get(f"{PATH}/till-7", "user").json == shown.json, "its owner sees it"


@pytest.mark.parametrize(
    "name", ["proxy", "main", "monitoring", "policy", "ca", "con", "nul.x", "A", "-a", "", "a" * 64, "a\n"]
)
def test_no_client_has_a_components_or_a_reserved_name(cast: Cast, name: str) -> None:
    assert assert_problem(cast.post(PATH, "admin", json={"name": name}), 422, "invalid-field")["field"] == "name"
    assert Client.select().count() == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("owner", "nobody@example.org"), ("owner", "no address"), ("group_id", 77), ("group_id", 2**40), ("rate", 0),
        ("rate", 10**9), ("rate", True), ("max_batch", -1), ("topics", []), ("topics", ["a**b"]), ("topics", ["*a*b*c*"]),
        ("topics", ["a b"]), ("topics", ["ü"]), ("topics", "orders"), ("default_topic", "a b"), ("default_topic", ""),
        ("default_topic", None), ("topics", ["x"]), ("disabled_at", None), ("created_at", "2020-01-01T00:00:00Z"),
        ("certificate_ends", None), ("policy_number", 1), ("role", "admin"),
    ],
)  # fmt: skip
def test_what_will_not_do_names_its_field(cast: Cast, field: str, value: Any) -> None:
    """Also mass assignment: what is not for people to set is an unknown field, in both operations."""
    named = "default_topic" if (field, value) == ("topics", ["x"]) else field
    put("acme")
    for answer in (cast.post(PATH, "admin", json={"name": "new", field: value}), patch(cast, "acme", {field: value})):
        assert assert_problem(answer, 422, "invalid-field")["field"].split("[")[0] == named
    assert Client.select().count() == 1
    assert audited("client.register") == audited("client.change") == []


# changing


def test_a_change_says_before_and_after_and_reaches_the_proxies(online: Cast) -> None:
    online.post(PATH, "admin", json={"name": "acme", "rate": 5})
    answer = patch(online, "acme", {"rate": None, "topics": ["messages", "x"], "default_topic": "x"})
    assert answer.status_code == 200, answer.text
    assert (answer.json["rate"], answer.json["default_topic"]) == (None, "x")
    known = published(online.settings).clients["acme"]
    assert (known.rate, known.topics) == (None, ("messages", "x"))
    [entry] = audited("client.change")
    assert json.loads(entry.details) == {
        "before": {"default_topic": "messages", "topics": None, "rate": 5},
        "after": {"default_topic": "x", "topics": ["messages", "x"], "rate": None},
    }
    assert patch(online, "acme", {}).status_code == 200
    assert len(audited("client.change")) == 1, "nothing was changed"
    assert_problem(patch(online, "absent", {}), 404, "not-found")
    assert_problem(patch(online, "acme", {"name": "other"}), 422, "invalid-field")


def test_a_disabled_client_is_refused_by_the_policy_until_it_is_enabled(online: Cast) -> None:
    online.post(PATH, "admin", json={"name": "acme"})
    for _ in range(2):
        answer = online.post(f"{PATH}/acme/disable", "admin")
        assert answer.json["disabled_at"] is not None
        assert published(online.settings).clients["acme"].disabled
    assert online.post(f"{PATH}/acme/enable", "admin").json["disabled_at"] is None
    assert not published(online.settings).clients["acme"].disabled
    assert [len(audited(f"client.{what}")) for what in ("disable", "enable")] == [1, 1]
    assert_problem(online.post(f"{PATH}/absent/disable", "admin"), 404, "not-found")


def test_without_redis_the_change_is_stored_and_the_answer_says_so(cast: Cast) -> None:
    put("acme")
    answer = cast.post(f"{PATH}/acme/disable", "admin")
    assert answer.status_code == 200
    assert answer.json["policy_number"] is None
    assert "stored" in answer.json["note"]
    assert "127.0.0.1" not in answer.text
    assert Client.get_by_id("acme").disabled_at is not None


def test_two_admins_do_not_overwrite_what_they_never_saw(online: Cast) -> None:
    online.post(PATH, "admin", json={"name": "acme"})
    tag = online.get(f"{PATH}/acme", "admin").headers["etag"]
    assert patch(online, "acme", {"rate": 1}, If_Match=tag).status_code == 200
    assert_problem(patch(online, "acme", {"rate": 2}, If_Match=tag), 412, "changed-meanwhile")
    answer = online.post(f"{PATH}/acme/disable", "admin", headers={"If-Match": tag})
    assert_problem(answer, 412, "changed-meanwhile")
    assert patch(online, "acme", {"rate": 3}).status_code == 200
    assert (Client.get_by_id("acme").rate, Client.get_by_id("acme").disabled_at) == (3, None)


def test_of_many_at_once_with_the_same_tag_one_wins(online: Cast) -> None:
    online.post(PATH, "admin", json={"name": "acme"})
    tag, token = online.get(f"{PATH}/acme", "admin").headers["etag"], online.token("admin")
    statuses: list[int] = []

    def edit(rate: int) -> None:
        answer = online.call("PATCH", f"{PATH}/acme", token=token, json={"rate": rate}, headers={"If-Match": tag})
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=edit, args=(rate,)) for rate in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(statuses) == [200, *[412] * 5], statuses
    assert len(audited("client.change")) == 1


# who may


@pytest.mark.parametrize("role", ["user", "user_manager", "operator"])
def test_only_admins_change_clients(cast: Cast, role: str) -> None:
    put("acme", owner=f"{role}@example.org")
    token = cast.token(role)
    assert_problem(cast.call("POST", PATH, token=token, json={"name": "x"}), 403, "forbidden")
    assert_problem(cast.call("PATCH", f"{PATH}/acme", token=token, json={"rate": 1}), 403, "forbidden")
    for what in ("disable", "enable"):
        assert_problem(cast.call("POST", f"{PATH}/acme/{what}", token=token), 403, "forbidden")
    assert Client.get_by_id("acme").rate is None


def test_the_ops_functions_take_no_field_that_is_not_for_people(cast: Cast) -> None:
    put("acme")
    with pytest.raises(WrongField, match="disabled_at"):
        clients.change(cast.settings, "acme", {"disabled_at": clock.now()}, TEST)
