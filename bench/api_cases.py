"""What `bench.api` asks for: every filter that is offered, ranges of time, both orders, people who see a part."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bench import api_rows
from messagebroker.ops import filters

Span = tuple[datetime, datetime]
ASKED: dict[str, tuple[str, ...]] = {  # values of each filter: one that half of the rows have, and others
    "client": (api_rows.HOT_CLIENT, "client-7", api_rows.RARE_CLIENT),
    "status": ("failed", "delivered"),
    "topic": (api_rows.HOT_TOPIC, "topic.7", api_rows.OLD_TOPIC),
    "correlation_id": (api_rows.HOT_CORRELATION,),
    "sender": (api_rows.HOT_SENDER,),
}


@dataclass(kw_only=True)
class Case:
    """One list that is asked for."""

    who: str
    asked: dict[str, str]
    span: Span | None = None  # `since` and `until`
    oldest_first: bool = False
    rounds: dict[str, list[tuple[float, float, int]]] = field(default_factory=dict)  # where -> p50, p99 in ms and n, each round
    plan: str = ""

    @property
    def name(self) -> str:
        """As the table says it."""
        asked = [f"{name}={value}" for name, value in self.asked.items()]
        asked += ["since", "until"] if self.span else []
        asked += ["order=asc"] if self.oldest_first else []
        return ", ".join(asked) or "(no filter)"

    @property
    def params(self) -> dict[str, Any]:
        """As the API takes it."""
        since, until = self.span or (None, None)
        return {**self.asked, "since": since, "until": until, "order": "asc" if self.oldest_first else None}

    @property
    def n(self) -> str:
        """How many requests a figure is of: the fewest and the most of a round."""
        found = [n for rounds in self.rounds.values() for _, _, n in rounds]
        return str(max(found)) if min(found) == max(found) else f"{min(found)} to {max(found)}"

    @property
    def figures(self) -> dict[str, tuple[float, float]]:
        """The medians of the rounds: one in which the machine stalled does not decide."""
        return {
            where: (statistics.median(p50 for p50, _, _ in rounds), statistics.median(p99 for _, p99, _ in rounds))
            for where, rounds in self.rounds.items()
        }


def cases(span: Span) -> Iterator[Case]:
    """All of them. `span`: the first and the last moment of acceptance."""
    third = (span[1] - span[0]) / 3
    yield Case(who="operator", asked={})
    for names in filters.OFFERED:
        for at in range(max(len(ASKED[name]) for name in names)):
            yield Case(who="operator", asked={name: ASKED[name][min(at, len(ASKED[name]) - 1)] for name in names})
    yield Case(who="operator", asked={"status": "scheduled"})
    some: tuple[dict[str, str], ...] = ({}, {"client": api_rows.HOT_CLIENT}, {"topic": "topic.7"}, {"status": "failed"})
    for asked in some:
        yield Case(who="operator", asked=asked, span=(span[0] + third, span[1] - third))
    for asked in (*some, {"status": "scheduled"}):
        yield Case(who="operator", asked=asked, oldest_first=True)
    yield Case(
        who="operator", asked={"client": api_rows.HOT_CLIENT}, span=(span[0] + third, span[1] - third), oldest_first=True
    )
    for who in ("member", "everywhere"):
        for asked in (
            {},
            {"status": "failed"},
            {"topic": "topic.3"},
            {"client": "client-8" if who == "member" else "client-7"},
        ):
            yield Case(who=who, asked=asked)
