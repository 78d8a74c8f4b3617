"""The native batch: a result per item."""

from __future__ import annotations

from typing import Any

import pytest
from support.proxy import Proxy, problem

from messagebroker.ops import ids

GOOD = {"body": "x", "topic": "t"}


def test_every_item_has_its_id(proxy: Proxy) -> None:
    answer = proxy.batch([{"body": f"text {number}", "topic": "t"} for number in range(1000)])
    assert answer.status_code == 202
    document = answer.json
    assert (document["accepted"], document["refused"], document["durability"]) == (1000, 0, "fsync")
    assert [item["index"] for item in document["items"]] == list(range(1000))
    assert {item["status"] for item in document["items"]} == {"queued"}
    queued = proxy.opened()
    assert [item["message_id"] for item in document["items"]] == [ids.text(record.id) for record, _ in queued]
    assert len({record.id for record, _ in queued}) == 1000
    assert [payload.body for _, payload in queued] == [f"text {number}" for number in range(1000)]


def test_ids_sort_as_they_were_drawn(proxy: Proxy) -> None:
    drawn = [item["message_id"] for _ in range(50) for item in proxy.batch([GOOD] * 3).json["items"]]
    assert drawn == sorted(drawn)
    assert len(set(drawn)) == 150


def test_priorities_part_in_queues(proxy: Proxy) -> None:
    proxy.batch([{"body": name, "priority": name} for name in ("low", "critical", "normal", "critical")])
    assert [payload.body for _, payload in proxy.opened()] == ["critical", "critical", "normal", "low"]


WRONG: list[tuple[Any, int, str, str | None]] = [
    ({"body": 5}, 422, "invalid-field", "body"),
    ({"body": "x", "colour": 1}, 422, "invalid-field", "colour"),
    ({"topic": "t"}, 422, "invalid-field", "body"),
    ({"body": "a\0"}, 422, "invalid-field", "body"),
    ({"body": "x" * 300_000}, 413, "body-too-large", "body"),
    ({"body": "x", "topic": "ä"}, 422, "invalid-field", "topic"),
    ({"body": "x", "deliver_at": "2030-02-30T00:00:00Z"}, 422, "invalid-field", "deliver_at"),
    ({"body": "x", "client_id": "other"}, 403, "client-mismatch", "client_id"),
    ({"body": "x", "metadata": {"a": 2**63 * 4}}, 422, "invalid-field", "metadata.a"),
    ("text", 422, "invalid-field", None),
]


@pytest.mark.parametrize(("item", "status", "name", "field"), WRONG)
def test_one_bad_item_is_named_and_the_good_ones_are_taken(
    proxy: Proxy, item: Any, status: int, name: str, field: str | None
) -> None:
    import json

    answer = proxy.post("/api/v1/messages/batch", json.dumps({"messages": [GOOD, item, {**GOOD, "body": "last"}]}).encode())
    assert answer.status_code == 207
    assert (answer.json["accepted"], answer.json["refused"]) == (2, 1)
    first, second, third = answer.json["items"]
    assert (first["index"], second["index"], third["index"]) == (0, 1, 2)
    assert second["problem"]["type"] == f"urn:messagebroker:problem:{name}"
    assert (second["problem"]["status"], second["problem"].get("field")) == (status, field)
    assert "message_id" not in second
    queued = proxy.opened()
    assert [payload.body for _, payload in queued] == ["x", "last"]
    assert [ids.text(record.id) for record, _ in queued] == [first["message_id"], third["message_id"]]


def test_half_a_surrogate_pair_is_one_items_problem(proxy: Proxy) -> None:
    answer = proxy.post("/api/v1/messages/batch", b'{"messages":[{"body":"\\ud800"},{"body":"x"}]}')
    assert answer.status_code == 207
    assert answer.json["items"][0]["problem"]["field"] == "body"
    assert len(proxy.queued()) == 1


def test_a_batch_of_nothing_good_takes_nothing(proxy: Proxy) -> None:
    answer = proxy.batch([{"body": ""}, {"body": ""}])
    assert (answer.status_code, answer.json["accepted"], answer.json["refused"]) == (207, 0, 2)
    assert proxy.queued() == []


@pytest.mark.parametrize(
    ("body", "status", "name", "field"),
    [
        (b'{"messages":[{"body":"x"}', 400, "invalid-json", None),
        (b'{"messages":[{"body":"x"},]}', 400, "invalid-json", None),
        (b"[]", 422, "invalid-field", None),
        (b"{}", 422, "invalid-field", "messages"),
        (b'{"messages":[]}', 422, "invalid-field", "messages"),
        (b'{"messages":{}}', 422, "invalid-field", "messages"),
        (b'{"messages":[{"body":"x"}],"more":1}', 422, "invalid-field", "more"),
        (b'{"messages":[' + b",".join([b'{"body":"x"}'] * 1001) + b"]}", 413, "batch-too-large", "messages"),
        (b'{"messages":[' + b",".join([b"1"] * 1001) + b"]}", 413, "batch-too-large", "messages"),
    ],
)
def test_a_batch_that_is_none_is_refused_whole(proxy: Proxy, body: bytes, status: int, name: str, field: str | None) -> None:
    assert problem(proxy.post("/api/v1/messages/batch", body)) == (status, name, field)
    assert proxy.queued() == []


def test_a_client_may_have_a_lower_limit(proxy: Proxy) -> None:
    assert proxy.batch([GOOD] * 2, client="small").status_code == 202
    assert problem(proxy.batch([GOOD] * 3, client="small")) == (413, "batch-too-large", "messages")


def test_other_content_types_are_refused(proxy: Proxy) -> None:
    answer = proxy.batch([GOOD], content_type="text/plain")
    assert problem(answer) == (415, "unsupported-media-type", "Content-Type")


def test_a_batch_sent_to_the_path_of_singles_is_told_where_to_go(proxy: Proxy) -> None:
    answer = proxy.submit({"messages": [GOOD]})
    assert problem(answer) == (422, "invalid-field", "messages")
    assert "/api/v1/messages/batch" in answer.json["detail"]
