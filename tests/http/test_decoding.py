from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest
from falcon import testing

from messagebroker.http.decoding import decode_json, read_query
from messagebroker.http.problems import Problem
from messagebroker.ops.validation import explain


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    topic: Annotated[str, msgspec.Meta(max_length=3)]


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    items: list[Inner]


class Query(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    count: Annotated[int, msgspec.Meta(ge=0)] | None = None
    deep: bool = False
    name: str | None = None


DECODER = msgspec.json.Decoder(Outer)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"items":[{"topic":"a"},{"topic":5}]}', 422, "items[1].topic"),
        (b'{"items":[{"topic":"long"}]}', 422, "items[0].topic"),
        (b'{"items":[{"topic":"a","x":1}]}', 422, "items[0].x"),
        (b'{"items":[{}]}', 422, "items[0].topic"),
        (b"{}", 422, "items"),
        (b'{"items":[],"more":1}', 422, "more"),
        (b"5", 422, None),
        (b"", 400, None),
        (b'{"items":[]', 400, None),
        (b'{"items":[{"topic":"\xff"}]}', 400, None),
        (b'{"items":[{"topic":"\\ud800"}]}', 400, None),
        (b"NaN", 400, None),
    ],
)
def test_the_field_at_fault_is_named(body: bytes, status: int, field: str | None) -> None:
    with pytest.raises(Problem) as raised:
        decode_json(body, DECODER)
    assert raised.value.document["status"] == status
    assert raised.value.document.get("field") == field


def test_nesting_without_end_is_no_json() -> None:
    with pytest.raises(Problem) as raised:
        decode_json(b'{"a":' + b"[" * 200_000, msgspec.json.Decoder(dict[str, Any]))
    assert raised.value.document["status"] == 400


def test_what_is_right_is_decoded() -> None:
    assert decode_json(b'{"items":[{"topic":"abc"}]}', DECODER) == Outer([Inner("abc")])


def test_the_explanation_does_not_repeat_the_path() -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        DECODER.decode(b'{"items":[{"topic":5}]}')
    assert explain(raised.value) == ("Expected `str`, got `int`", "items[0].topic")


def query(text: str) -> Query:
    from falcon import Request

    return read_query(Request(testing.create_environ(query_string=text)), Query)


def test_query_strings_become_the_types_that_are_asked_for() -> None:
    assert query("") == Query()
    assert query("count=5&deep=true&name=5") == Query(count=5, deep=True, name="5")
    assert query("name=true") == Query(name="true")
    assert query("name=") == Query(name="")


@pytest.mark.parametrize(
    "text", ["count=-1", "count=05", "count=%205", "count=٣", "deep=1", "deep=False", "x=1", "name=a&name=b"]
)
def test_other_values_are_refused(text: str) -> None:
    with pytest.raises(Problem) as raised:
        query(text)
    assert raised.value.document["type"].endswith(":invalid-parameter")


@pytest.mark.parametrize("text", ["name=a%0A", "name=%00", "name=%E2%80%AE", "na%0Ame=1"])
def test_control_characters_are_refused(text: str) -> None:
    with pytest.raises(Problem) as raised:
        query(text)
    assert raised.value.document["status"] == 400
