"""msgspec searches, and Python's `$` matches before a last line end: no pattern of a type may let one pass."""

from __future__ import annotations

import gc
import json
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import pytest
from falcon import Request, testing

import messagebroker.http.main.app
import messagebroker.http.proxy.app  # noqa: F401 - both, for their types
from messagebroker.http.decoding import read_query
from messagebroker.http.openapi import Operation
from messagebroker.http.problems import Problem
from messagebroker.http.proxy import native, values
from messagebroker.ops.channels.email_config import ADDRESS
from messagebroker.ops.dead_letter_selection import FINGERPRINT
from messagebroker.ops.names import EMAIL, NAME, TOPIC

GOOD = {
    NAME: "acme",
    TOPIC: "orders.new",
    r"^[A-Za-z0-9_-]+$(?!\n)": "AAAAAAAAAAE",
    r"^[0-9a-f]{1,40}$(?!\n)": "0a1b",
    r"^[A-Za-z0-9._:-]+$(?!\n)": "user.login",
    FINGERPRINT: "0123456789abcdef",
    EMAIL: "ann@example.org",
    ADDRESS: "ann@example.org",
}
"""A value for each pattern that a type has; a new pattern needs one here."""


def patterns(kind: msgspec.inspect.Type, seen: set[type]) -> list[str]:
    """Those that msgspec checks anywhere inside a type."""
    if isinstance(kind, msgspec.inspect.Metadata):
        return patterns(kind.type, seen)
    if isinstance(kind, msgspec.inspect.StrType):
        return [kind.pattern] if kind.pattern else []
    if isinstance(kind, msgspec.inspect.StructType):
        if kind.cls in seen:
            return []
        seen.add(kind.cls)
        return [found for field in kind.fields for found in patterns(field.type, seen)]
    inner = [getattr(kind, name, None) for name in ("item_type", "key_type", "value_type")]
    inner += getattr(kind, "types", ()) + getattr(kind, "item_types", ())
    return [found for one in inner if isinstance(one, msgspec.inspect.Type) for found in patterns(one, seen)]


def ours() -> list[Any]:
    """Every struct of the two applications."""
    kinds = [kind for kind in gc.get_objects() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    return [kind for kind in kinds if kind.__module__.startswith("messagebroker.")]


def fields(kind: Any) -> tuple[msgspec.inspect.Field, ...]:
    try:
        info = msgspec.inspect.type_info(kind)
    except TypeError:  # msgspec cannot decode it: it is only ever built
        return ()
    assert isinstance(info, msgspec.inspect.StructType)
    return info.fields


def queries() -> set[Any]:
    return {found.query for found in gc.get_objects() if isinstance(found, Operation) and found.query is not None}


FIELDS = [
    (kind, field.encode_name, found) for kind in ours() for field in fields(kind) for found in patterns(field.type, set())
]


def test_patterns_are_found() -> None:
    assert {(kind.__name__, name) for kind, name, _ in FIELDS} >= {("MessageQuery", "client"), ("MessageQuery", "topic")}


@pytest.mark.parametrize("pattern", sorted({pattern for _, _, pattern in FIELDS}))
def test_no_line_end_passes(pattern: str) -> None:
    good = GOOD[pattern]
    kind = Annotated[str, msgspec.Meta(pattern=pattern)]
    assert msgspec.convert(good, kind) == good
    for wrong in (good + "\n", "\n" + good, good + "\r\n", good + "\n" + good):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, kind)


def test_a_query_string_holds_no_line_end_at_all() -> None:
    for kind in queries():
        with pytest.raises(Problem) as raised:
            read_query(Request(testing.create_environ(query_string=f"any={quote('a' + chr(10))}")), kind)
        assert (raised.value.document["status"], raised.value.document["field"]) == (400, "any")


def test_patterns_that_the_document_only_shows_are_checked_in_python() -> None:
    assert values.topic_problem("orders.new", None) is None
    assert values.topic_problem("orders.new\n", None) == "invalid-field"
    number = {"sender_number": "+4915112345678", "message_body": "x"}
    native.established(json.dumps(number).encode())
    with pytest.raises(Problem) as raised:
        native.established(json.dumps(number | {"sender_number": "+491511234567\n"}).encode())
    assert raised.value.document["field"] == "sender_number"
