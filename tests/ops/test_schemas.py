"""Schemas of topics: what is taken, what is refused, and that no body makes checking long."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from messagebroker.errors import Refused
from messagebroker.ops.schemas import DRAFTS, LARGEST, Schema, checked

pytestmark = pytest.mark.clocked

BODY = 256 * 1024
ORDER = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "integer"}, "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}}},
    "$defs": {"line": {"type": "object", "properties": {"price/net": {"type": "number", "minimum": 0}}}},
}


def wrong(schema: dict[str, Any], body: Any) -> tuple[str, str] | None:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    found = Schema(checked(schema)).mismatch(text)
    return None if found is None else (found.pointer, found.why)


def seconds(schema: dict[str, Any], body: Any) -> float:
    compiled, text = Schema(checked(schema)), body if isinstance(body, str) else json.dumps(body)
    began = time.perf_counter()
    compiled.mismatch(text)
    return time.perf_counter() - began


def nested(depth: int, wrap: Any, inner: dict[str, Any]) -> dict[str, Any]:
    for _ in range(depth):
        inner = wrap(inner)
    return inner


# bodies


def test_a_body_is_right_or_the_place_is_named() -> None:
    assert wrong(ORDER, {"id": 1, "lines": [{"price/net": 2.5}]}) is None
    assert wrong(ORDER, b'{"id": 1}') is None
    assert wrong(ORDER, {"id": 1, "lines": [{}, {"price/net": -1}]}) == (
        "/lines/1/price~1net", "the value is less than the minimum of 0",
    )  # fmt: skip
    assert wrong(ORDER, {}) == ("", '"id" is a required property')


@pytest.mark.parametrize("body", ["", "hello", "{", b"\xff", '"\\ud800"', "[" * 100_000, "nan"])
def test_what_is_no_json_is_said_to_be_none(body: str | bytes) -> None:
    found = wrong({}, body)
    assert found is not None
    assert found[1].startswith("is not JSON, which this topic's schema asks for")


@pytest.mark.parametrize("schema", [{"uniqueItems": True}, {"items": {"type": "string"}}, {"unevaluatedItems": False}])
def test_a_body_that_is_nested_900_levels_ends_in_an_answer_and_no_crash(schema: dict[str, Any]) -> None:
    deep = "[" * 900 + "]" * 900
    assert wrong(schema, f"[{deep},{deep}]") is not None


@pytest.mark.parametrize(("number", "right"), [(10**30, False), (2**64, False), (3, True), (3.0, True), (3.5, False)])
def test_numbers_of_any_size(number: float, right: bool) -> None:
    assert (wrong({"type": "integer", "maximum": 10}, {"a": 1} and number) is None) == right


def test_formats_are_checked_in_every_draft() -> None:
    for draft in DRAFTS:
        schema = {"$schema": draft, "format": "date-time"}
        assert wrong(schema, "2030-01-31T08:00:00Z".join('""')) is None
        assert wrong(schema, '"yesterday"') is not None


def test_what_is_cited_of_a_body_is_short_and_none_of_its_values() -> None:
    found = wrong({"additionalProperties": {"type": "integer"}}, {"k" * 5000: "secret" * 1000})
    assert found is not None
    assert len(found[0]) == len("/") + 199
    assert "secret" not in found[1]
    listed = wrong({"enum": ["x" * 3000, "y"]}, "5")
    assert listed is not None
    assert len(listed[1]) == 200


# schemas

NOT_TAKEN: list[tuple[Any, str]] = [
    ({"type": "intteger"}, "/type"),
    ({"type": 5}, "/type"),
    ({"properties": []}, "/properties"),
    ({"$schema": "http://json-schema.org/draft-04/schema#"}, "not known here"),
    ({"$schema": "https://example.org/mine"}, "not known here"),
    ({"$schema": 5}, "not known here"),
    ({"$ref": "https://example.org/order.json"}, "may only name a place in the schema itself"),
    ({"$ref": "file:///etc/passwd"}, "may only name a place in the schema itself"),
    ({"properties": {"a": {"$ref": "other.json#/a"}}}, "may only name a place in the schema itself"),
    ({"$ref": "#/$defs/absent"}, "no such place"),
    ({"$ref": "#/$defs/" + "9" * 5000}, "no such place"),
    ({"$ref": "#"}, "may only name a place"),
    ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "refers to itself"),
    ({"$defs": {"n": {"properties": {"child": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"}, "refers to itself"),
    ({"$dynamicRef": "#a"}, "$dynamicRef is not supported"),
    ({"properties": {"a": {"$id": "https://example.org/a"}}}, "$id is only for the schema as a whole"),
    ({"pattern": "(?=a)b"}, "looks around"),
    ({"pattern": r"(a)\1"}, "refers back"),
    ({"pattern": "(a{1,1000}){1,1000}"}, "too large"),
    ({"patternProperties": {"(?<!a)b": {}}}, "looks around"),
    ({"maximum": float("inf")}, "/maximum"),
    ({"const": {1, 2}, "title": object()}, "cannot be written as JSON"),
    ({"description": "x" * LARGEST}, "bytes without white space"),
    (nested(200, lambda inner: {"not": inner}, {}), "nested deeper than"),
    (nested(55, lambda inner: {"properties": {"a": inner}}, {}), "deeper than 50 levels"),
    (
        {"$defs": {f"a{n}": {"properties": {"p": {"$ref": f"#/$defs/a{n + 1}"}}} for n in range(60)} | {"a60": {}},
         "$ref": "#/$defs/a0"},
        "deeper than 50 levels",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "why"), NOT_TAKEN, ids=[why for _, why in NOT_TAKEN])
def test_what_is_not_taken_says_why(schema: Any, why: str) -> None:
    with pytest.raises(Refused) as refused:
        checked(schema)
    assert why in str(refused.value)
    assert len(str(refused.value)) < 300


def test_ordinary_schemas_are_taken() -> None:
    address = {
        "type": "object",
        "properties": {"zip": {"type": "string", "pattern": r"^\d{5}$"}},
        "additionalProperties": False,
    }
    kinds = [
        {"properties": {"kind": {"const": f"k{n}"}, **{f"p{m}": {"type": "string", "maxLength": 9} for m in range(8)}}}
        for n in range(30)
    ]
    for schema in (
        {},
        ORDER,
        {"$defs": {"address": address}, "properties": {name: {"$ref": "#/$defs/address"} for name in ("from", "to", "bill")}},
        {"oneOf": kinds, "unevaluatedProperties": False},
        {"properties": {"pattern": {"type": "string"}, "$id": {"type": "string"}, "items": {"type": "array"}}},
        {"enum": ["x"] + [f"country-{n}" for n in range(250)]},
        nested(6, lambda inner: {"properties": {"a": inner}, "unevaluatedProperties": False}, {}),
        {"$id": "https://example.org/order.json", "$schema": DRAFTS[1], "$anchor": "a"},
    ):
        assert json.loads(checked(schema)) == schema


# time


AB = random.Random(5)
KEEPS_BUSY = "".join(AB.choice("ab") for _ in range(BODY - 2))


@pytest.mark.parametrize(
    ("pattern", "text"),
    [(r"^(a+)+$", "a" * (BODY - 3) + "b"), (r"(x+x+)+y", "x" * (BODY - 2)), (r"^(\w+\s?)*$", "a" * (BODY - 3) + "!")],
)
def test_patterns_that_hang_other_engines_do_not_hang_this_one(pattern: str, text: str) -> None:
    assert seconds({"pattern": pattern}, f'"{text}"') < 0.5


def test_the_worst_pattern_that_is_taken_ends_soon() -> None:
    largest = next(n for n in range(700, 0, -10) if _is_taken({"pattern": rf"[ab]*a[ab]{{{n}}}c"}))
    assert largest > 50
    with pytest.raises(Refused, match="steps"):
        checked({"allOf": [{"pattern": rf"[ab]*a[ab]{{{largest - n}}}c"} for n in range(6)]})
    assert seconds({"pattern": rf"[ab]*a[ab]{{{largest}}}c"}, f'"{KEEPS_BUSY[:32_000]}"') < 2


def _is_taken(schema: dict[str, Any]) -> bool:
    try:
        checked(schema)
    except Refused:
        return False
    return True


DOUBLED = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(20)} | {"a20": {"type": "integer"}}
NEVER_ENDING: list[dict[str, Any]] = [
    {"$defs": DOUBLED, "$ref": "#/$defs/a0"},
    nested(40, lambda inner: {"allOf": [inner], "unevaluatedProperties": False}, {"properties": {"a": True}}),
    nested(40, lambda inner: {"anyOf": [inner], "unevaluatedItems": False}, {"prefixItems": [True]}),
    nested(40, lambda inner: {"if": inner, "then": True, "unevaluatedProperties": False}, {"properties": {"a": True}}),
    nested(20, lambda inner: {"unevaluatedProperties": False, "anyOf": [{"properties": {"a": inner}}]}, {}),
    {"items": {"allOf": [{"not": {"multipleOf": 0.01 * n + 0.003}} for n in range(100)]}},
    {"items": {"enum": [{"k": n} for n in range(600)]}},
    {"items": {"allOf": [{"items": {"allOf": [{"minimum": n} for n in range(300)]}}] * 3}},
]


@pytest.mark.parametrize("schema", NEVER_ENDING)
def test_schemas_that_multiply_work_are_not_taken(schema: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="steps; 500 are allowed"):
        checked(schema)


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        ({"uniqueItems": True}, list(range(40_000))),
        ({"uniqueItems": True}, [[n % 7, n] for n in range(20_000)]),
        ({"format": "regex"}, "(((a{1,100}){1,100}){1,100}){1,100}"),
        ({"format": "regex"}, "(" * 10_000 + ")" * 10_000),
        ({"format": "email"}, "a" * BODY + "@" + "b." * 1000),
        ({"items": {"enum": [f"k{n}" for n in range(900)]}}, ["k899"] * 25_000),
    ],
)
def test_bodies_made_to_be_slow_are_not(schema: dict[str, Any], body: Any) -> None:
    assert seconds(schema, json.dumps(body)) < 1
