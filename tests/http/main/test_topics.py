"""/api/v1/topics: the catalogue; what the proxies are told of it."""

from __future__ import annotations

import json
import threading
from typing import Any

import peewee as pw
import pytest
from support.cast import TEST, Cast, assert_problem, audited
from support.pki import published
from support.plans import explain, rows_by_name

from messagebroker.db.connection import connected
from messagebroker.db.models import Message, Topic
from messagebroker.ops import clock, policy, registry, topics
from messagebroker.ops.client_fields import WrongField
from messagebroker.ops.snapshot import TopicPolicy

PATH = "/api/v1/topics"
SCHEMA = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}


def put(name: str, **values: Any) -> None:
    Topic.insert(name=name, created_at=clock.now(), **values).execute()


def patch(cast: Cast, name: str, document: Any, **headers: str) -> Any:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return cast.call("PATCH", f"{PATH}/{name}", token=cast.token("admin"), json=document, headers=named)


def delete(cast: Cast, name: str, **headers: str) -> Any:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return cast.call("DELETE", f"{PATH}/{name}", token=cast.token("admin"), headers=named)


# reading


@pytest.mark.parametrize("role", Cast.roles)
def test_everybody_reads_the_catalogue_by_name(cast: Cast, role: str) -> None:
    put("zeta")
    put("orders/eu", description="from the shop", schema=json.dumps(SCHEMA), deprecated_at=clock.now(), must_route=True)
    put("Beta")
    first = cast.get(PATH, role, params={"limit": 2}).json
    second = cast.get(PATH, role, params={"limit": 2, "cursor": first["next"]}).json
    assert [topic["name"] for topic in first["items"] + second["items"]] == ["Beta", "orders/eu", "zeta"]
    assert second["next"] is None
    listed = first["items"][1]
    assert (listed["has_schema"], listed["must_route"], listed["description"]) == (True, True, "from the shop")
    assert "schema" not in listed
    assert listed["deprecated_at"].endswith("Z")
    for path in ("orders/eu", "orders%2Feu"):
        assert cast.get(f"{PATH}/{path}", role).json["schema"] == SCHEMA
    assert cast.get(f"{PATH}/zeta", role).json["schema"] is None


def test_names_of_any_length_are_turned_past(cast: Cast) -> None:
    long = ["a" * 200, "b" * 200]
    for name in long:
        put(name)
    first = cast.get(PATH, "admin", params={"limit": 1}).json
    second = cast.get(PATH, "admin", params={"limit": 1, "cursor": first["next"]}).json
    assert [topic["name"] for topic in first["items"] + second["items"]] == long


@pytest.mark.parametrize("name", ["absent", "beta", "", "a b", "%C3%A4", "x" * 300, "%00", "a/"])
def test_what_is_not_there_is_a_404(cast: Cast, name: str) -> None:
    put("Beta")
    assert_problem(cast.get(f"{PATH}/{name}", "user"), 404, "not-found")


@pytest.mark.parametrize("query", ["cursor=AAAA", "cursor=bv8", "name=acme", "limit=0"])
def test_bad_parameters(cast: Cast, query: str) -> None:
    assert_problem(cast.get(PATH, "user", query_string=query), 400, "invalid-parameter")


# changing


def test_what_proxies_need_is_published_and_nothing_else(online: Cast) -> None:
    answer = online.post(PATH, "admin", json={"name": "orders/new", "schema": SCHEMA, "description": " from the shop "})
    assert answer.status_code == 201, answer.text
    assert (answer.headers["location"], answer.json["description"]) == (f"{PATH}/orders/new", "from the shop")
    assert answer.headers["etag"] == online.get(f"{PATH}/orders/new", "user").headers["etag"]
    said = published(online.settings)
    assert said.number == answer.json["policy_number"]
    assert said.topics == {"orders/new": TopicPolicy(json.dumps(SCHEMA, separators=(",", ":")), False)}
    online.post(PATH, "admin", json={"name": "plain", "must_route": True})
    assert set(published(online.settings).topics) == {"orders/new"}, "every byte of the policy goes to every proxy"
    patch(online, "plain", {"deprecated": True})
    patch(online, "orders/new", {"schema": None})
    assert published(online.settings).topics == {"plain": TopicPolicy(None, True)}
    assert delete(online, "plain").status_code == 204
    assert published(online.settings).topics == {}


def test_a_catalogue_that_a_restore_brought_back_is_published_by_main(online: Cast) -> None:
    policy.publish(online.settings)
    put("orders", schema="{}")
    assert policy.publish_if_changed(online.settings) is not None
    assert published(online.settings).topics == {"orders": TopicPolicy("{}", False)}
    assert policy.publish_if_changed(online.settings) is None


def test_a_revocation_is_published_before_the_tables_of_topics_are_there(online: Cast) -> None:
    with connected():
        Topic._meta.database.drop_tables([Topic])
    assert policy.publish(online.settings) > 0
    assert registry.topic_policies() == {}


def test_each_change_leaves_a_row_that_says_before_and_after(cast: Cast) -> None:
    cast.post(PATH, "admin", json={"name": "orders", "schema": SCHEMA})
    patch(cast, "orders", {"schema": {"type": "string"}, "deprecated": True, "must_route": True})
    since = Topic.get_by_id("orders").deprecated_at
    patch(cast, "orders", {"deprecated": True, "description": ""})
    assert Topic.get_by_id("orders").deprecated_at == since, "since when stays"
    delete(cast, "orders")
    [made], [changed], [removed] = (audited(f"topic.{what}") for what in ("create", "change", "remove"))
    assert (made.actor, made.object_type, made.object_id) == ("user:admin@example.org", "topic", "orders")
    assert json.loads(changed.details) == {
        "before": {"schema": SCHEMA, "deprecated": False, "must_route": False},
        "after": {"schema": {"type": "string"}, "deprecated": True, "must_route": True},
    }
    assert json.loads(removed.details)["schema"] == {"type": "string"}, "enough to make it again"


def test_the_largest_change_fits_into_its_row(cast: Cast, database: pw.Database) -> None:
    text = "ü" * 8000
    cast.post(PATH, "admin", json={"name": "orders", "schema": {"description": text}})
    assert patch(cast, "orders", {"schema": {"title": text}}).status_code == 200
    [row] = audited("topic.change")
    assert json.loads(row.details)["after"] == {"schema": {"title": text}}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "a b"}, "name"),
    ({"name": "ä"}, "name"),
    ({"name": "x", "schema": {"type": "intteger"}}, "schema"),
    ({"name": "x", "schema": []}, "schema"),
    ({"name": "x", "schema": {"$ref": "https://example.org/order.json"}}, "schema"),
    ({"name": "x", "schema": {"pattern": "(?=a)b"}}, "schema"),
    ({"name": "x", "schema": {"title": "x" * 20_000}}, "schema"),
    ({"name": "x", "description": "x" * 1001}, "description"),
    ({"name": "x", "description": "\0"}, "description"),
    ({"name": "x", "deprecated": "yes"}, "deprecated"),
    ({"name": "x", "must_route": None}, "must_route"),
    ({"name": "x", "deprecated_at": "2030-01-31T00:00:00Z"}, "deprecated_at"),
]


@pytest.mark.parametrize(("document", "field"), WRONG)
def test_what_is_wrong_is_named(cast: Cast, document: dict[str, Any], field: str) -> None:
    assert assert_problem(cast.post(PATH, "admin", json=document), 422, "invalid-field")["field"] == field
    put("orders")
    if field != "name":
        changes = {name: value for name, value in document.items() if name != "name"}
        assert assert_problem(patch(cast, "orders", changes), 422, "invalid-field")["field"] == field
    assert Topic.select().count() == 1


def test_a_name_is_given_once(cast: Cast) -> None:
    assert cast.post(PATH, "admin", json={"name": "orders"}).status_code == 201
    assert cast.post(PATH, "admin", json={"name": "Orders"}).status_code == 201, "another name"
    assert_problem(cast.post(PATH, "admin", json={"name": "orders"}), 409, "topic-exists")


def test_all_schemas_together_have_an_end(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "MOST_BYTES", 100)
    assert cast.post(PATH, "admin", json={"name": "a", "schema": {"title": "x" * 60}}).status_code == 201
    document = assert_problem(cast.post(PATH, "admin", json={"name": "b", "schema": SCHEMA}), 422, "invalid-field")
    assert "the others have 72" in document["detail"]
    assert patch(cast, "a", {"schema": {"title": "x" * 70}}).status_code == 200, "its own bytes do not count twice"


def test_removing_takes_no_message_along(cast: Cast, shelf: Any) -> None:
    shelf.put(topic="orders")
    put("orders", schema="{}")
    assert delete(cast, "orders").status_code == 204
    assert Message.select().count() == 1
    assert_problem(delete(cast, "orders"), 404, "not-found")


def test_two_admins_do_not_overwrite_what_they_never_saw(cast: Cast) -> None:
    put("orders")
    tag = cast.get(f"{PATH}/orders", "admin").headers["etag"]
    assert patch(cast, "orders", {"schema": SCHEMA}, If_Match=tag).status_code == 200
    assert_problem(patch(cast, "orders", {"schema": None}, If_Match=tag), 412, "changed-meanwhile")
    assert_problem(delete(cast, "orders", If_Match=tag), 412, "changed-meanwhile")
    assert Topic.get_by_id("orders").schema is not None


def test_of_many_at_once_with_the_same_tag_one_wins(cast: Cast) -> None:
    put("orders")
    tag, token = cast.get(f"{PATH}/orders", "admin").headers["etag"], cast.token("admin")
    statuses: list[int] = []

    def edit(number: int) -> None:
        changes = {"description": str(number)}
        answer = cast.call("PATCH", f"{PATH}/orders", token=token, json=changes, headers={"If-Match": tag})
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=edit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(statuses) == [200, *[412] * 3], statuses


def test_without_redis_it_is_stored_and_the_answer_says_so(cast: Cast) -> None:
    answer = cast.post(PATH, "admin", json={"name": "orders", "schema": SCHEMA})
    assert (answer.status_code, answer.json["policy_number"]) == (201, None)
    assert "stored" in answer.json["note"]
    assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize("role", ["user", "user_manager", "operator"])
def test_only_admins_change_the_catalogue(cast: Cast, role: str) -> None:
    put("orders")
    token = cast.token(role)
    for method, path in (("POST", PATH), ("PATCH", f"{PATH}/orders"), ("DELETE", f"{PATH}/orders")):
        assert_problem(cast.call(method, path, token=token, json={"description": "x"}), 403, "forbidden")


def test_the_ops_functions_take_no_field_that_is_not_for_people(cast: Cast) -> None:
    put("orders")
    for field, value in (("deprecated_at", clock.now()), ("schema", "{}"), ("description", None)):
        with pytest.raises(WrongField, match=field):
            topics.change(cast.settings, "orders", {field: value}, TEST)


# routing


def test_the_topics_that_must_be_routed(cast: Cast) -> None:
    put("a", must_route=True)
    put("b")
    put("c/d", must_route=True, deprecated_at=clock.now())
    assert topics.must_route_topics() == {"a", "c/d"}


@pytest.mark.parametrize("database", ["mariadb", "mysql"], indirect=True)
def test_the_topics_that_must_be_routed_come_from_an_index_alone(cast: Cast, database: pw.Database) -> None:
    with connected():
        rows = [
            {"name": f"t.{n:05}", "must_route": n % 200 == 0, "schema": "s" * 3000, "created_at": clock.now()}
            for n in range(2000)
        ]
        for at in range(0, len(rows), 500):
            Topic.insert_many(rows[at : at + 500]).execute()
        database.execute_sql("ANALYZE TABLE topics").fetchall()
        sql, params = Topic.select(Topic.name).where(Topic.must_route == True).sql()  # noqa: E712
        [plan] = rows_by_name(f"{explain()} {sql}", params)
    assert (plan["key"], plan["type"], plan["Extra"]) == ("topics_must_route", "ref", "Using index")
    assert len(topics.must_route_topics()) == 10
