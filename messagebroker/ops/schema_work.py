"""How much work a schema makes: bounded before it is stored, so that no body, whatever its sender made of it, holds up a proxy.

The unit is one subschema that looks at one place of a body. `Work.here` bounds what looks at the very place that a schema
is for, `Work.below` what looks at any single place inside it; properties with different names exclude each other, the
branches of an `anyOf` do not. Checking takes at most that many times the number of places in the body.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from messagebroker.errors import Refused
from messagebroker.ops import schema_patterns

MOST_WORK = 500
DEEPEST = 50
_DEEPEST_JSON = 120

_ALTERNATIVES = ("allOf", "anyOf", "oneOf")
_CONDITIONS = ("not", "if", "then", "else")
_DEPENDENT = ("dependentSchemas", "dependencies")
_INSIDE = (
    "items", "additionalItems", "contains", "additionalProperties", "propertyNames", "unevaluatedItems",
    "unevaluatedProperties",
)  # fmt: skip
_UNEVALUATED = ("unevaluatedItems", "unevaluatedProperties")
_AGAIN = 3  # to know what is unevaluated, whatever looked at the same place looks again: twice over when it agrees
_FRACTION = 20  # `multipleOf` of what is no integer computes with fractions


@dataclass(frozen=True)
class Work:
    """Of one schema. `height`: how deep schemas are nested in it."""

    here: int = 1
    below: int = 0
    height: int = 1

    @property
    def most(self) -> int:
        """At any place."""
        return max(self.here, self.below)


def refuse_foreign(schema: dict[str, Any]) -> None:
    """Raises Refused for what makes `#/…` mean something else than a place in this document, and for endless nesting."""
    waiting: list[tuple[Any, int]] = [(schema, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _DEEPEST_JSON:
            raise Refused(f"is nested deeper than {_DEEPEST_JSON} levels")
        if isinstance(value, dict):
            for name in ("$dynamicRef", "$recursiveRef"):
                if isinstance(value.get(name), str):
                    raise Refused(f"{name} is not supported; use $ref")
            for name in ("$id", "$schema"):
                if depth and isinstance(value.get(name), str):
                    raise Refused(f"{name} is only for the schema as a whole, not for a part of it")
            waiting += ((inner, depth + 1) for inner in value.values())
        elif isinstance(value, list):
            waiting += ((inner, depth + 1) for inner in value)


def refuse_costly(schema: dict[str, Any]) -> None:
    """Raises Refused for a schema that refers to itself or elsewhere, is nested too deep, or makes too much work."""
    found = _Measure(schema).of(schema, 1).most
    if found > MOST_WORK:
        raise Refused(
            f"checking one place of a body could take {found:,} steps; {MOST_WORK} are allowed. Alternatives (anyOf, oneOf),"
            " large patterns and unevaluatedProperties inside each other multiply them; perhaps it is several topics"
        )


class _Measure:
    """Works through one document; each schema once, however often it is referred to."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._known: dict[int, Work] = {}
        self._under_way: set[int] = set()

    def of(self, schema: Any, depth: int) -> Work:
        """The work of one schema at a depth."""
        if not isinstance(schema, dict):
            return Work()  # true, false, or what the compiler refuses
        known = self._known.get(id(schema))
        if known is None:
            if depth > DEEPEST:
                raise _too_deep()
            if id(schema) in self._under_way:
                raise Refused("refers to itself by a $ref; bodies could make checking endless, so that schemas may not")
            self._under_way.add(id(schema))
            known = self._known[id(schema)] = self._measured(schema, depth + 1)
            self._under_way.remove(id(schema))
        if depth + known.height - 1 > DEEPEST:
            raise _too_deep()
        return known

    def _measured(self, schema: dict[str, Any], depth: int) -> Work:
        same = [self.of(one, depth) for one in self._of_the_same_place(schema)]
        named = [self.of(one, depth) for one in _values(schema.get("properties"))]
        counted = [self.of(one, depth) for one in _items(schema.get("prefixItems"), schema.get("items"))]
        inside = [self.of(schema[name], depth) for name in _INSIDE if isinstance(schema.get(name), dict)]
        matched = [self.of(one, depth) for one in _values(schema.get("patternProperties"))]
        patterns = sum(schema_patterns.work(pattern) for pattern in _names(schema.get("patternProperties")))
        factor = _AGAIN if any(name in schema for name in _UNEVALUATED) else 1
        return Work(
            here=_own(schema) + factor * sum(one.here for one in same),
            below=_most(named)
            + _most(counted)
            + sum(one.most for one in (*inside, *matched)) * factor
            + patterns
            + factor * sum(one.below for one in same),
            height=1 + max((one.height for one in (*same, *named, *counted, *inside, *matched)), default=0),
        )

    def _of_the_same_place(self, schema: dict[str, Any]) -> Iterable[Any]:
        for name in _ALTERNATIVES:
            yield from _items(schema.get(name))
        for name in _CONDITIONS:
            if name in schema:
                yield schema[name]
        for name in _DEPENDENT:
            yield from _values(schema.get(name))
        if isinstance(schema.get("$ref"), str):
            yield self._at(schema["$ref"])

    def _at(self, reference: str) -> Any:
        """What a `$ref` names."""
        if not reference.startswith("#/"):
            raise Refused(f"$ref {reference[:80]!r}: may only name a place in the schema itself, such as #/$defs/address")
        value: Any = self._root
        for step in unquote(reference[2:]).split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict) and name in value:
                value = value[name]
            elif isinstance(value, list) and name.isdecimal() and len(name) < 6 and int(name) < len(value):
                value = value[int(name)]
            else:
                raise Refused(f"$ref {reference[:80]!r}: there is no such place in the schema")
        return value


def _own(schema: dict[str, Any]) -> int:
    """Without what is nested in it."""
    pattern, multiple, listed = schema.get("pattern"), schema.get("multipleOf"), schema.get("enum")
    return (
        1
        + (schema_patterns.work(pattern) if isinstance(pattern, str) else 0)
        + (_FRACTION if isinstance(multiple, float) else 0)
        + (sum(isinstance(one, dict | list) for one in listed) if isinstance(listed, list) else 0)
    )


def _most(found: list[Work]) -> int:
    return max((one.most for one in found), default=0)


def _values(mapping: Any) -> list[Any]:
    return list(mapping.values()) if isinstance(mapping, dict) else []


def _names(mapping: Any) -> list[str]:
    return list(mapping) if isinstance(mapping, dict) else []


def _items(*lists: Any) -> list[Any]:
    return [one for found in lists if isinstance(found, list) for one in found]


def _too_deep() -> Refused:
    return Refused(f"nests schemas deeper than {DEEPEST} levels, counted along every $ref")
