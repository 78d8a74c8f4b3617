"""What the policy in force says of topics, ready to be used: schemas are compiled once, on first use."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import structlog

from messagebroker.errors import Refused
from messagebroker.http.problems import Problem
from messagebroker.ops.schemas import Schema
from messagebroker.ops.snapshot import Policy, TopicPolicy

SCHEMA_MISMATCH = "schema-mismatch"
_SLOW_SECONDS = 0.5

log = structlog.get_logger(__name__)


class Rule:
    """What bodies of one topic must match."""

    __slots__ = ("_schema", "_topic", "text")

    def __init__(self, topic: str, text: str) -> None:
        self.text = text
        self._topic = topic
        self._schema: Schema | None = None

    def check(self, body: str | bytes) -> None:
        """Raises the problem for a body that does not match."""
        schema = self._schema or self._compiled()
        began = time.perf_counter()
        wrong = schema.mismatch(body)
        seconds = time.perf_counter() - began
        if seconds > _SLOW_SECONDS:
            log.warning("checking a body against a schema took long", topic=self._topic, seconds=round(seconds, 2))
        if wrong is not None:
            where = f"at {wrong.pointer} " if wrong.pointer else ""
            detail = f"body: {where}{wrong.why} (schema of the topic {self._topic})"
            raise Problem(422, SCHEMA_MISMATCH, detail, field="body", pointer=wrong.pointer)

    def _compiled(self) -> Schema:
        try:
            self._schema = Schema(self.text)
        except Refused as error:  # main accepted it: another version runs there
            log.error("a schema cannot be used", topic=self._topic, error=str(error))
            detail = f"the schema of the topic {self._topic} cannot be used by this proxy; tell the operator"
            raise Problem(503, "schema-unusable", detail, field="topic", headers={"Retry-After": "60"}) from None
        return self._schema


class Topics:
    """The rules of one policy. `before`: those of the last, of which the same schemas stay compiled."""

    def __init__(self, said: Mapping[str, TopicPolicy], before: Mapping[str, Rule]) -> None:
        self.said = said
        self.rules = {name: _rule(name, topic.schema, before.get(name)) for name, topic in said.items() if topic.schema}
        self._deprecated = frozenset(name for name, topic in said.items() if topic.deprecated)

    def deprecated(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that should not be used any more."""
        return sorted(self._deprecated.intersection(names)) if self._deprecated else []


class TopicsInForce:
    """Follows the policy."""

    def __init__(self) -> None:
        self._current = Topics({}, {})

    def of(self, policy: Policy | None) -> Topics:
        """The rules of this policy; without one those of the last."""
        current = self._current
        if policy is None or policy.topics is current.said:
            return current
        self._current = current = Topics(policy.topics, current.rules)
        return current


def _rule(topic: str, schema: str, before: Rule | None) -> Rule:
    return before if before is not None and before.text == schema else Rule(topic, schema)
