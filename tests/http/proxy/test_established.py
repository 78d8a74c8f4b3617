"""The JSON that existing senders already use; it must keep working unchanged."""

from __future__ import annotations

from typing import Any

import pytest
from support.proxy import Proxy, problem

MESSAGE = {"sender_number": "+4915112345678", "message_body": "text", "metadata": {"shop": 7}}


def test_it_is_answered_as_documented(proxy: Proxy) -> None:
    answer = proxy.submit(MESSAGE, client="orders")
    assert answer.status_code == 202
    assert list(answer.json)[:4] == ["message_id", "status", "client_id", "queued_at"]
    assert (answer.json["status"], answer.json["client_id"]) == ("queued", "orders")
    [(record, payload)] = proxy.opened()
    assert (record.topic, record.priority) == ("orders.new", 2)
    assert (payload.body, payload.sender, payload.metadata) == ("text", "+4915112345678", {"shop": 7})


def test_metadata_may_be_left_out(proxy: Proxy) -> None:
    proxy.submit({"sender_number": "+4915112345678", "message_body": "text"})
    assert proxy.opened()[0][1].metadata is None


def test_unknown_fields_are_kept_in_metadata(proxy: Proxy) -> None:
    proxy.submit({**MESSAGE, "topic": "t", "priority": "high", "nested": {"a": [1]}, "shop": 8})
    [(record, payload)] = proxy.opened()
    assert payload.metadata == {"shop": 7, "topic": "t", "priority": "high", "nested": {"a": [1]}, "_shop": 8}
    assert (record.topic, record.priority) == ("messages", 2)


def test_escaped_field_names_are_the_same_names(proxy: Proxy) -> None:
    answer = proxy.submit(b'{"sender_\\u006eumber":"+4915112345678","message\\u005fbody":"text"}')
    assert answer.status_code == 202
    assert proxy.opened()[0][1].sender == "+4915112345678"


def test_a_native_message_about_this_format_stays_native(proxy: Proxy) -> None:
    answer = proxy.submit({"body": 'say "message_body"', "metadata": {"message_body": "x"}, "topic": "t"})
    assert answer.json["topic"] == "t"


@pytest.mark.parametrize(
    "number",
    ["4915112345678", "+0915112345678", "+4", "+4915112345678901", "+49 151", "", "+49151x", "+4915112345678\n", "+٤٩١٥١"],
)
def test_numbers_are_e164(proxy: Proxy, number: str) -> None:
    assert problem(proxy.submit({**MESSAGE, "sender_number": number})) == (422, "invalid-field", "sender_number")
    assert proxy.queued() == []


WRONG: list[tuple[Any, int, str, str | None]] = [
    ({"sender_number": "+4915112345678"}, 422, "invalid-field", "message_body"),
    ({"message_body": "x"}, 422, "invalid-field", "sender_number"),
    ({**MESSAGE, "message_body": ""}, 422, "invalid-field", "message_body"),
    ({**MESSAGE, "message_body": 5}, 422, "invalid-field", "message_body"),
    ({**MESSAGE, "message_body": "a\0"}, 422, "invalid-field", "message_body"),
    ({**MESSAGE, "message_body": "x" * 300_000}, 413, "body-too-large", "message_body"),
    ({**MESSAGE, "metadata": "x"}, 422, "invalid-field", "metadata"),
    ({**MESSAGE, "extra": "x" * 9000}, 422, "invalid-field", "metadata"),
    ({**MESSAGE, "extra": {"a": {"b": {"c": {"d": {}}}}}}, 422, "invalid-field", "metadata.extra.a.b.c.d"),
    ({**MESSAGE, "client_id": "other"}, 403, "client-mismatch", "client_id"),
    (b'{"sender_number":"+4915112345678","message_body":"\\ud800"}', 422, "invalid-field", "message_body"),
    (b'{"sender_number":"+4915112345678","message_body":"x","more":"\\ud800"}', 422, "invalid-field", "more"),
]


@pytest.mark.parametrize(("body", "status", "name", "field"), WRONG)
def test_wrong_input_is_refused_by_name(proxy: Proxy, body: Any, status: int, name: str, field: str | None) -> None:
    assert problem(proxy.submit(body)) == (status, name, field)
    assert proxy.queued() == []


def test_the_clients_own_id_is_no_metadata(proxy: Proxy) -> None:
    assert proxy.submit({**MESSAGE, "client_id": "acme"}).status_code == 202
    assert proxy.opened()[0][1].metadata == {"shop": 7}
