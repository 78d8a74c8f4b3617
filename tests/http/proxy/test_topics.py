"""Submits to topics of the catalogue: bodies that do not match a schema, deprecated topics."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest
from support.proxy import Proxy, problem

from messagebroker.ops import schemas
from messagebroker.ops.snapshot import TopicPolicy

ORDER = schemas.checked({
    "type": "object", "required": ["id"], "additionalProperties": False,
    "properties": {"id": {"type": "integer"}, "lines": {"type": "array", "items": {"type": "object", "required": ["sku"]}}},
})  # fmt: skip
GOOD, BAD = '{"id": 1}', '{"id": 1, "lines": [{"sku": "a"}, {}]}'


def say(proxy: Proxy, **topics: TopicPolicy) -> None:
    policy = proxy.watcher.current
    assert policy
    proxy.watcher.current = replace(policy, number=policy.number + 1, topics={**topics})


@pytest.fixture
def orders(proxy: Proxy) -> Proxy:
    say(proxy, orders=TopicPolicy(ORDER), old=TopicPolicy(None, True), messages=TopicPolicy(ORDER, True))
    return proxy


def order(body: Any = GOOD, **more: Any) -> dict[str, Any]:
    return {"topic": "orders", "body": body, **more}


# schemas


def test_a_body_that_matches_is_taken_as_it_was_sent(orders: Proxy) -> None:
    body = '{ "id" : 1.0e0 , "lines":[]}'
    assert orders.submit(order(body)).status_code == 202
    assert [payload.body for _, payload in orders.opened()] == [body]


@pytest.mark.parametrize(
    ("body", "pointer", "why"),
    [
        (BAD, "/lines/1", '"sku" is a required property'),
        ('{"id": "1"}', "/id", 'not of type "integer"'),
        ('{"id": 1, "colour": 2}', "", "'colour' was unexpected"),
        ("hello", "", "is not JSON"),
    ],
)
def test_another_body_is_refused_and_the_place_named(orders: Proxy, body: str, pointer: str, why: str) -> None:
    answer = orders.submit(order(body))
    assert problem(answer) == (422, "schema-mismatch", "body")
    assert answer.json["pointer"] == pointer
    assert answer.json["detail"].startswith(f"body: at {pointer}" if pointer else "body: ")
    assert why in answer.json["detail"]
    assert "orders" in answer.json["detail"]
    assert orders.queued() == []


def test_in_a_batch_only_that_item_is_refused(orders: Proxy) -> None:
    other = {"topic": "other", "body": "hello"}
    items = orders.batch([order(), order(BAD), other, order("no"), order()]).json["items"]
    assert [item.get("problem", {}).get("type", "taken").rpartition(":")[2] for item in items] == [
        "taken", "schema-mismatch", "taken", "schema-mismatch", "taken",
    ]  # fmt: skip
    assert items[1]["problem"]["pointer"] == "/lines/1"
    assert [payload.body for _, payload in orders.opened()] == [GOOD, "hello", GOOD]


def test_a_topic_that_may_not_be_used_does_not_lend_its_rule_to_the_next(orders: Proxy) -> None:
    answer = orders.batch([order(), {"topic": "ä", "body": "x"}, order(BAD), {"topic": "free", "body": "x"}])
    names = [item.get("problem", {}).get("type", "").rpartition(":")[2] for item in answer.json["items"]]
    assert names == ["", "invalid-field", "schema-mismatch", ""]


def test_each_format_names_the_body_in_its_own_words(orders: Proxy) -> None:
    established = orders.submit({"sender_number": "+491511", "message_body": "hello"})  # on its default topic
    assert problem(established) == (422, "schema-mismatch", "message_body")
    assert established.json["detail"].startswith("message_body: is not JSON")
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "orders", "data": json.loads(BAD)}
    answer = orders.submit(event, content_type="application/cloudevents+json")
    assert (problem(answer), answer.json["pointer"]) == ((422, "schema-mismatch", "data"), "/lines/1")
    assert orders.submit({**event, "data": {"id": 1}}, content_type="application/cloudevents+json").status_code == 202
    attributes = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/s", "ce_type": "orders"}
    for body, status in ((b'{"id": 1}', 202), (b"\xff", 422), (b"", 422)):
        answer = orders.post("/api/v1/messages", body, content_type="application/octet-stream", **attributes)
        assert answer.status_code == status, answer.text


def test_a_new_policy_counts_from_the_next_request_on_and_compiles_only_what_changed(
    orders: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    real = schemas.Schema.__init__
    monkeypatch.setattr(schemas.Schema, "__init__", lambda self, text: (compiled.append(text), real(self, text))[1])
    for _ in range(3):
        orders.submit(order())
    assert compiled == [ORDER]
    say(orders, orders=TopicPolicy(ORDER), others=TopicPolicy('{"type":"string"}'))
    assert orders.submit(order(BAD)).status_code == 422
    assert compiled == [ORDER], "what did not change stays compiled; what nobody sends to is not"
    say(orders, orders=TopicPolicy('{"type":"string"}'))
    assert orders.submit(order()).status_code == 422
    say(orders)
    assert orders.submit(order("anything")).status_code == 202


def test_a_repetition_gets_its_first_answer_although_the_schema_is_another_now(orders: Proxy) -> None:
    first, batch = orders.submit(order(), Idempotency_Key="k"), orders.batch([order()] * 2, Idempotency_Key="b")
    say(orders, orders=TopicPolicy('{"type":"string"}'))
    again = orders.submit(order(), Idempotency_Key="k")
    assert (again.status_code, again.json) == (202, first.json)
    assert orders.batch([order()] * 2, Idempotency_Key="b").json == batch.json
    assert problem(orders.submit(order(), Idempotency_Key="new"))[1] == "schema-mismatch"


def test_a_schema_that_this_proxy_cannot_use_refuses_its_topic_alone(orders: Proxy) -> None:
    say(orders, orders=TopicPolicy('{"pattern":"(?=a)b"}'))
    answer = orders.submit(order())
    assert problem(answer) == (503, "schema-unusable", "topic")
    assert answer.headers["retry-after"] == "60"
    assert orders.submit({"topic": "other", "body": "x"}).status_code == 202


def test_many_at_once(orders: Proxy) -> None:
    statuses: list[int] = []

    def submit(body: str) -> None:
        statuses.extend(orders.submit(order(body)).status_code for _ in range(5))

    threads = [threading.Thread(target=submit, args=(body,)) for body in (GOOD, BAD) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(statuses) == [202] * 15 + [422] * 15


# deprecated topics


def test_a_deprecated_topic_is_taken_and_the_answer_says_so(orders: Proxy) -> None:
    answer = orders.submit({"topic": "old", "body": "x"}, Idempotency_Key="k")
    assert (answer.status_code, answer.json["deprecated_topics"]) == (202, ["old"])
    assert orders.submit({"topic": "old", "body": "x"}, Idempotency_Key="k").json == answer.json
    assert "deprecated_topics" not in orders.submit(order()).json
    default = orders.submit({"body": GOOD})
    assert default.json["deprecated_topics"] == ["messages"]


def test_a_batch_names_those_that_it_sent_to(orders: Proxy) -> None:
    items = [{"topic": "old", "body": "x"}, {"body": GOOD}, order(), {"topic": "old", "body": "y"}]
    answer = orders.batch(items, Idempotency_Key="k")
    assert (answer.status_code, answer.json["deprecated_topics"]) == (202, ["messages", "old"])
    assert orders.batch(items, Idempotency_Key="k").json == answer.json
    partial = orders.batch([order(), {"body": "refused"}, {"topic": "old", "body": ""}], Idempotency_Key="p")
    assert (partial.status_code, "deprecated_topics" in partial.json) == (207, False), "nothing of it was taken there"
    again = orders.batch([order(), {"body": "refused"}, {"topic": "old", "body": ""}], Idempotency_Key="p")
    assert (again.status_code, again.json) == (207, partial.json)
    assert "deprecated_topics" not in orders.batch([order()]).json
