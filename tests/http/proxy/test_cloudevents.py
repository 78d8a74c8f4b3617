"""CloudEvents 1.0 over HTTP: structured, binary, batched."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.proxy import Proxy, problem

from messagebroker.ops import clock

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
EVENT: dict[str, Any] = {
    "specversion": "1.0", "id": "A-1", "source": "/till/7", "type": "orders.new", "subject": "4711",
    "time": "2030-01-31T08:00:00Z", "shop": "ulm", "count": 3, "paid": True,
}  # fmt: skip
BINARY = {"ce_specversion": "1.0", "ce_id": "A-1", "ce_source": "/till/7", "ce_type": "orders.new"}


def send(proxy: Proxy, event: Any) -> Any:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return proxy.submit(body, content_type=STRUCTURED)


def test_a_structured_event_is_kept_whole(proxy: Proxy) -> None:
    answer = send(proxy, {**EVENT, "data": {"a": [1, "ü"]}})
    assert answer.status_code == 202
    assert answer.json["topic"] == "orders.new"
    [(record, payload)] = proxy.opened()
    assert record.topic == "orders.new"
    assert payload.sender == "/till/7"
    assert json.loads(payload.body) == {"a": [1, "ü"]}
    assert payload.metadata == EVENT


@pytest.mark.parametrize(
    ("members", "body", "content_type"),
    [
        ({}, "", None),
        ({"data": None}, "", None),
        ({"data": "text", "datacontenttype": "text/plain"}, "text", "text/plain"),
        ({"data": "text"}, '"text"', None),
        ({"data": 5, "datacontenttype": "application/json"}, "5", "application/json"),
        (
            {"data": [1], "datacontenttype": "application/vnd.x+json; charset=utf-8"},
            "[1]",
            "application/vnd.x+json; charset=utf-8",
        ),
        ({"data_base64": "AAH/", "datacontenttype": "image/png"}, b"\0\1\xff", "image/png"),
    ],
)
def test_data_in_all_its_forms(proxy: Proxy, members: dict[str, Any], body: Any, content_type: str | None) -> None:
    assert send(proxy, {**EVENT, **members}).status_code == 202
    [(record, payload)] = proxy.opened()
    assert (payload.body, payload.content_type, record.size) == (body, content_type, len(body))


def test_extensions_that_mean_something_here(proxy: Proxy) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    extensions = {
        "priority": "critical", "deliverat": "2999-01-01T00:00:00Z", "expirytime": "2999-01-02T00:00:00Z", "traceparent": trace,
    }  # fmt: skip
    send(proxy, {**EVENT, **extensions})
    [(record, payload)] = proxy.opened()
    assert (record.priority, record.traceparent) == (0, trace)
    assert record.deliver_at is not None
    assert clock.from_micros(record.deliver_at).isoformat() == "2999-01-01T00:00:00+00:00"
    assert record.expires_at is not None
    assert payload.metadata == {**EVENT, **extensions}


def test_a_priority_of_somebody_elses_is_data(proxy: Proxy) -> None:
    send(proxy, {**EVENT, "priority": 5})
    [(record, payload)] = proxy.opened()
    assert record.priority == 2
    assert payload.metadata is not None
    assert payload.metadata["priority"] == 5


WRONG: list[tuple[dict[str, Any], str | None]] = [
    ({"specversion": "0.3"}, "specversion"),
    ({"id": ""}, "id"),
    ({"id": 5}, "id"),
    ({"source": ""}, "source"),
    ({"type": "no topic"}, "type"),
    ({"time": "2030-02-30T00:00:00Z"}, "time"),
    ({"time": "yesterday"}, "time"),
    ({"My-Ext": "x"}, "My-Ext"),
    ({"client_id": "acme"}, "client_id"),
    ({"ext": {"a": 1}}, "ext"),
    ({"ext": 1.5}, "ext"),
    ({"ext": 2**31}, "ext"),
    ({"ext": "\0"}, "ext"),
    ({"ext": "\ud800"}, "ext"),
    ({"data": "\0", "datacontenttype": "text/plain"}, "data"),
    ({"data": {"a": "\ud800"}}, "data.a"),
    ({"data": 5, "datacontenttype": "text/plain"}, "data"),
    ({"data_base64": "???"}, "data_base64"),
    ({"data_base64": "AAAA", "data": 1}, "data_base64"),
    ({"expirytime": "2999-01-01T00:00:00Z", "deliverat": "2999-01-02T00:00:00Z"}, "expirytime"),
    ({"dataschema": "x" * 2000}, "dataschema"),
]


@pytest.mark.parametrize(("members", "field"), WRONG)
def test_what_is_wrong_is_named(proxy: Proxy, members: dict[str, Any], field: str | None) -> None:
    assert problem(send(proxy, {**EVENT, **members})) == (422, "invalid-field", field)
    assert proxy.queued() == []


@pytest.mark.parametrize("missing", ["specversion", "id", "source", "type"])
def test_required_attributes(proxy: Proxy, missing: str) -> None:
    assert problem(send(proxy, {k: v for k, v in EVENT.items() if k != missing})) == (422, "invalid-field", missing)


def test_broken_json(proxy: Proxy) -> None:
    assert problem(send(proxy, b"{")) == (400, "invalid-json", None)


def test_a_binary_event(proxy: Proxy) -> None:
    answer = proxy.submit(b"\0\1\2", content_type="application/octet-stream", **BINARY, ce_shop="Ulm %C3%BC")
    assert answer.status_code == 202
    [(record, payload)] = proxy.opened()
    assert (payload.body, payload.content_type, payload.sender) == (b"\0\1\2", "application/octet-stream", "/till/7")
    assert payload.metadata == {"specversion": "1.0", "id": "A-1", "source": "/till/7", "type": "orders.new", "shop": "Ulm ü"}
    assert (record.topic, record.size) == ("orders.new", 3)


def test_a_binary_event_of_json_is_text(proxy: Proxy) -> None:
    proxy.submit(b'{"a":1}', **BINARY)
    assert proxy.opened()[0][1].body == '{"a":1}'


@pytest.mark.parametrize(
    ("headers", "body", "field"),
    [
        ({"ce_specversion": "2.0"}, b"x", "specversion"),
        ({"ce_time": "2030-02-30T00:00:00Z"}, b"x", "time"),
        ({"ce_my_ext": "x"}, b"x", "ce-my_ext"),
        ({"ce_ext": "%FF"}, b"x", "ce-ext"),
        ({"ce_ext": "%00"}, b"x", "ce-ext"),
        ({"ce_data": "x"}, b"x", "ce-data"),
        ({}, b"\xff", "data"),
        ({}, b"\0", "data"),
    ],
)
def test_what_is_wrong_with_a_binary_event_is_named(proxy: Proxy, headers: dict[str, str], body: bytes, field: str) -> None:
    assert problem(proxy.submit(body, content_type="text/plain", **{**BINARY, **headers})) == (422, "invalid-field", field)
    assert proxy.queued() == []


def test_a_binary_event_without_its_type(proxy: Proxy) -> None:
    headers = {k: v for k, v in BINARY.items() if k != "ce_type"}
    assert problem(proxy.submit(b"x", **headers)) == (422, "invalid-field", "type")


def test_a_batch_of_events_takes_the_good_ones(proxy: Proxy) -> None:
    events = [EVENT, {**EVENT, "id": ""}, {**EVENT, "id": "A-3", "data": 1}]
    answer = proxy.submit(json.dumps(events).encode(), content_type=BATCHED)
    assert (answer.status_code, answer.json["accepted"], answer.json["refused"]) == (207, 2, 1)
    assert answer.json["items"][1]["problem"]["field"] == "id"
    assert [payload.metadata["id"] for _, payload in proxy.opened() if payload.metadata] == ["A-1", "A-3"]


def test_half_a_surrogate_pair_is_one_events_problem(proxy: Proxy) -> None:
    answer = proxy.submit(json.dumps([{**EVENT, "subject": "\ud800"}, EVENT]).encode(), content_type=BATCHED)
    assert (answer.status_code, answer.json["items"][0]["problem"]["field"]) == (207, "subject")


def test_a_batch_of_good_events(proxy: Proxy) -> None:
    answer = proxy.submit(json.dumps([EVENT] * 3).encode(), content_type=BATCHED)
    assert (answer.status_code, answer.json["accepted"]) == (202, 3)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"[]", (422, "invalid-field", "messages")),
        (b"{}", (422, "invalid-field", None)),
        (b"[", (400, "invalid-json", None)),
        (b"[" + b",".join([b"{}"] * 1001) + b"]", (413, "batch-too-large", "messages")),
    ],
)
def test_a_batch_that_is_none(proxy: Proxy, body: bytes, expected: tuple[int, str, str | None]) -> None:
    assert problem(proxy.submit(body, content_type=BATCHED)) == expected


def test_topics_are_checked_for_events_too(proxy: Proxy) -> None:
    answer = proxy.submit(json.dumps({**EVENT, "type": "other"}).encode(), content_type=STRUCTURED, client="orders")
    assert problem(answer) == (403, "topic-not-allowed", "type")
