"""The native format, one message a request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.proxy import Proxy, problem

from messagebroker.ops import clock, ids
from messagebroker.ops.sealing import sender_hash, sender_key


def test_a_message_is_taken_sealed_and_queued(proxy: Proxy) -> None:
    before = datetime.now(UTC)
    answer = proxy.submit({"topic": "orders.new", "body": "Grüße", "sender": "till 7", "metadata": {"a": [1, None, 1.5]}})
    assert answer.status_code == 202
    assert list(answer.json) == ["message_id", "status", "client_id", "queued_at", "topic", "durability"]
    assert answer.json["status"] == "queued"
    assert answer.json["client_id"] == "acme"
    assert answer.json["durability"] == "fsync"
    assert answer.headers["location"] == f"/api/v1/messages/{answer.json['message_id']}"
    queued_at = datetime.fromisoformat(answer.json["queued_at"])
    assert before <= queued_at <= datetime.now(UTC)
    [(record, payload)] = proxy.opened()
    assert ids.text(record.id) == answer.json["message_id"]
    assert record.accepted_at == clock.micros(queued_at)
    assert record.accepted_at // 1000 - int.from_bytes(record.id[:6], "big") in (0, 1)
    assert (record.client, record.topic, record.priority, record.size) == ("acme", "orders.new", 2, 7)
    assert (payload.body, payload.sender, payload.metadata) == ("Grüße", "till 7", {"a": [1, None, 1.5]})
    assert record.idempotency_key is None


def test_nothing_readable_reaches_redis(proxy: Proxy) -> None:
    proxy.submit(
        {"body": "SECRET-BODY", "sender": "SECRET-SENDER", "metadata": {"k": "SECRET-META"}}, Idempotency_Key="SECRET-KEY"
    )
    dump = b"".join(proxy.redis.dump(key) for key in proxy.redis.keys("*"))
    assert b"SECRET" not in dump + b"".join(proxy.redis.keys("*"))


def test_the_topic_is_the_clients_default_where_none_is_named(proxy: Proxy) -> None:
    assert proxy.submit({"body": "x"}, client="orders").json["topic"] == "orders.new"


@pytest.mark.parametrize(("priority", "queue"), [("critical", 0), ("high", 1), ("normal", 2), ("low", 3)])
def test_each_priority_has_a_queue_of_its_own(proxy: Proxy, priority: str, queue: int) -> None:
    proxy.submit({"body": "x", "priority": priority})
    assert [record.priority for record in proxy.queued()] == [queue]
    assert proxy.redis.llen(f"messagebroker:{priority}") == 1


def test_times_travel_in_microseconds(proxy: Proxy) -> None:
    answer = proxy.submit({"body": "x", "deliver_at": "2999-01-01T00:00:00+01:00", "expires_at": "2999-01-02T00:00:00Z"})
    assert answer.json["deliver_at"] == "2998-12-31T23:00:00Z"
    assert answer.json["status"] == "queued"
    [record] = proxy.queued()
    assert record.deliver_at == clock.micros(datetime(2998, 12, 31, 23, tzinfo=UTC))
    assert record.expires_at == clock.micros(datetime(2999, 1, 2, tzinfo=UTC))


def test_a_deliver_at_that_has_passed_means_at_once(proxy: Proxy) -> None:
    answer = proxy.submit({"body": "x", "deliver_at": "2001-01-01T00:00:00Z"})
    assert "deliver_at" not in answer.json
    assert proxy.queued()[0].deliver_at is None


def test_search_by_sender_uses_the_shared_key(proxy: Proxy, tmp_path: Any) -> None:
    from messagebroker.settings import load

    proxy.submit({"body": "x", "sender": "till 7"})
    key = sender_key(load({}, data_dir=tmp_path, environment="test"))
    assert proxy.queued()[0].sender_hash == sender_hash(key, "till 7")


def test_trace_and_correlation_travel_along(proxy: Proxy) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    proxy.submit({"body": "x"}, traceparent=trace, X_Correlation_Id="order 4711")
    proxy.submit({"body": "x"}, traceparent="00-nonsense")
    first, second = proxy.queued()
    assert (first.traceparent, first.correlation_id) == (trace, "order 4711")
    assert (second.traceparent, second.correlation_id) == (None, None)


def test_the_certificate_that_was_shown_travels_along(proxy: Proxy) -> None:
    proxy.submit({"body": "x"})
    proxy.batch([{"body": "y"}])
    assert [record.certificate for record in proxy.queued()] == ["ab12", "ab12"]


PAST = (datetime.now(UTC) - timedelta(days=1)).isoformat()
WRONG: list[tuple[str, Any, int, str, str | None]] = [
    ("broken", b'{"body":"x"', 400, "invalid-json", None),
    ("two values", b'{"body":"x"} 1', 400, "invalid-json", None),
    ("empty request", b"", 400, "invalid-json", None),
    ("a raw control character", b'{"body":"a\x00b"}', 400, "invalid-json", None),
    ("not UTF-8", b'{"body":"\xff"}', 400, "invalid-json", None),
    ("NaN", b'{"body":"x","metadata":{"a":NaN}}', 400, "invalid-json", None),
    ("deeper than the stack", b'{"body":"x","metadata":' + b'{"a":' * 5000 + b"1" + b"}" * 5001, 400, "invalid-json", None),
    ("a list", [], 422, "invalid-field", None),
    ("no body", {"topic": "t"}, 422, "invalid-field", "body"),
    ("empty body", {"body": ""}, 422, "invalid-field", "body"),
    ("a number as body", {"body": 1}, 422, "invalid-field", "body"),
    ("null as body", {"body": None}, 422, "invalid-field", "body"),
    ("unknown field", {"body": "x", "colour": 1}, 422, "invalid-field", "colour"),
    ("a NUL in the body", {"body": "a\0b"}, 422, "invalid-field", "body"),
    ("a NUL in metadata", {"body": "a", "metadata": {"x": ["\0"]}}, 422, "invalid-field", "metadata.x[0]"),
    ("a NUL in a name", {"body": "a", "metadata": {"\0": 1}}, 422, "invalid-field", "metadata"),
    ("half a pair in the body", b'{"body":"\\ud83d"}', 422, "invalid-field", "body"),
    ("the other half", b'{"body":"x\\ude00y"}', 422, "invalid-field", "body"),
    ("half a pair in metadata", b'{"body":"x","metadata":{"a":{"b":"\\ud83d"}}}', 422, "invalid-field", "metadata.a.b"),
    ("half a pair in a name", b'{"body":"x","metadata":{"\\ud83d":1}}', 422, "invalid-field", "metadata"),
    ("a surrogate in UTF-8", b'{"body":"\xed\xa0\x80"}', 400, "invalid-json", None),
    ("body too long", {"body": "x" * (256 * 1024 + 1)}, 413, "body-too-large", "body"),
    ("body too long in UTF-8", {"body": "ü" * (128 * 1024 + 1)}, 413, "body-too-large", "body"),
    ("empty topic", {"body": "x", "topic": ""}, 422, "invalid-field", "topic"),
    ("no topic", {"body": "x", "topic": "a b"}, 422, "invalid-field", "topic"),
    ("a newline after a topic", {"body": "x", "topic": "a\n"}, 422, "invalid-field", "topic"),
    ("long topic", {"body": "x", "topic": "a" * 201}, 422, "invalid-field", "topic"),
    ("empty sender", {"body": "x", "sender": ""}, 422, "invalid-field", "sender"),
    ("unknown priority", {"body": "x", "priority": "urgent"}, 422, "invalid-field", "priority"),
    ("a number as priority", {"body": "x", "priority": 1}, 422, "invalid-field", "priority"),
    ("no such day", {"body": "x", "deliver_at": "2030-02-30T00:00:00Z"}, 422, "invalid-field", "deliver_at"),
    ("no offset", {"body": "x", "deliver_at": "2030-02-20T00:00:00"}, 422, "invalid-field", "deliver_at"),
    ("a number as time", {"body": "x", "expires_at": 1}, 422, "invalid-field", "expires_at"),
    ("before 1970", {"body": "x", "deliver_at": "0001-01-01T00:00:00+14:00"}, 422, "invalid-field", "deliver_at"),
    ("after 9999", {"body": "x", "expires_at": "9999-12-31T23:59:59-14:00"}, 422, "invalid-field", "expires_at"),
    ("expired", {"body": "x", "expires_at": PAST}, 422, "already-expired", "expires_at"),
    (
        "expires before it is due",
        {"body": "x", "deliver_at": "2999-01-02T00:00:00Z", "expires_at": "2999-01-01T00:00:00Z"},
        422, "invalid-field", "expires_at",
    ),
    ("metadata is a list", {"body": "x", "metadata": []}, 422, "invalid-field", "metadata"),
    ("metadata too large", {"body": "x", "metadata": {"a": "x" * 8192}}, 422, "invalid-field", "metadata"),
    ("metadata too deep", {"body": "x", "metadata": {"a": {"b": [{"e": [[]]}]}}}, 422, "invalid-field", "metadata.a.b[0].e[0]"),
    ("an integer over 64 bits", {"body": "x", "metadata": {"a": [0, "B"]}}, 422, "invalid-field", "metadata.a[1]"),
    ("a float out of range", b'{"body":"x","metadata":{"a":1e999}}', 422, "invalid-field", "metadata[...]"),
    ("another client's id", {"body": "x", "client_id": "other"}, 403, "client-mismatch", "client_id"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "name", "field"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_wrong_input_is_refused_by_name_and_changes_nothing(
    proxy: Proxy, body: Any, status: int, name: str, field: str | None
) -> None:
    if isinstance(body, dict) and body.get("metadata") == {"a": [0, "B"]}:
        body = b'{"body":"x","metadata":{"a":[0,18446744073709551616]}}'
    assert problem(proxy.submit(body)) == (status, name, field)
    assert proxy.queued() == []


def test_what_is_only_just_right_is_taken(proxy: Proxy) -> None:
    metadata = {"a": {"b": {"c": {"d": [2**64 - 1, -(2**63)]}}}}
    body = "ü" * (128 * 1024)
    answer = proxy.submit({"body": body, "metadata": metadata, "client_id": "acme", "topic": "a" * 200})
    assert answer.status_code == 202
    assert proxy.opened()[0][1].metadata == metadata
    assert proxy.submit({"body": r"\u0000 is no NUL"}).status_code == 202
    assert proxy.submit(b'{"body":"\\ud83d\\ude00"}').status_code == 202
    assert proxy.opened()[2][1].body == "😀"


def test_a_client_id_in_metadata_is_data(proxy: Proxy) -> None:
    assert proxy.submit({"body": "x", "metadata": {"client_id": "other"}}).status_code == 202
    assert proxy.queued()[0].client == "acme"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
def test_other_content_types_are_refused(proxy: Proxy, content_type: str) -> None:
    assert problem(proxy.submit({"body": "x"}, content_type=content_type)) == (415, "unsupported-media-type", "Content-Type")


def test_json_with_a_charset_is_json(proxy: Proxy) -> None:
    assert proxy.submit({"body": "x"}, content_type="application/json; charset=UTF-8").status_code == 202


@pytest.mark.parametrize(
    ("topic", "status"), [("orders.new", 202), ("orders.", 202), ("returns", 202), ("returns.x", 403), ("xorders.new", 403)]
)
def test_a_client_sends_to_its_topics_only(proxy: Proxy, topic: str, status: int) -> None:
    answer = proxy.submit({"body": "x", "topic": topic}, client="orders")
    assert answer.status_code == status
    if status == 403:
        assert problem(answer) == (403, "topic-not-allowed", "topic")


@pytest.mark.parametrize("header", ["Idempotency_Key", "X_Correlation_Id"])
def test_headers_have_limits(proxy: Proxy, header: str) -> None:
    assert problem(proxy.submit({"body": "x"}, **{header: "a" * 300})) == (400, "invalid-header", header.replace("_", "-"))


def test_a_compressed_body_is_refused(proxy: Proxy) -> None:
    answer = proxy.submit({"body": "x"}, Content_Encoding="gzip")
    assert problem(answer) == (415, "unsupported-media-type", "Content-Encoding")
    assert proxy.submit({"body": "x"}, Content_Encoding="identity").status_code == 202
    assert len(proxy.queued()) == 1
