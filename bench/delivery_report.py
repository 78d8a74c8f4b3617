"""The table and the plot of one run of `just bench-delivery`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

LIMITS: dict[tuple[str, str], tuple[str, float]] = {
    ("latency", "p50_ms"): ("<", 30),
    ("latency", "p99_ms"): ("<", 150),
    ("rate", "deliveries_per_second"): (">", 700),
    ("hanging", "kept"): (">", 0.9),
    ("pulls", "with_500_waiting_p99_ms"): ("<", 100),
    ("overtaking", "slowest_ms"): ("<", 1000),
    ("due", "look_rows"): ("<", 50_000),
    ("due", "claim_500_rows"): ("<", 50_000),
}
"""What a run must reach. Of 100,000 rows fewer than half: not a scan."""

ASKED: tuple[tuple[str, str, str, str], ...] = (
    ("latency", "p50_ms", "submit to webhook received at 100 messages a second, p50", "ms"),
    ("latency", "p99_ms", "the same, p99", "ms"),
    ("rate", "deliveries_per_second", "deliveries a second, the middle 80 %", "/s"),
    ("rate", "whole", "deliveries a second, from the first submit to the last arrival", "/s"),
    ("rate", "us_worker", "processor of the worker for a delivery", "µs"),
    ("hanging", "all_answer_per_second", "500 of 1,000 destinations, all of which answer", "/s"),
    ("hanging", "half_hang_per_second", "the same 500 while the others hang for 15 s each", "/s"),
    ("hanging", "kept", "kept of the rate", ""),
    ("hanging", "all_answer_p99_ms", "p99 of these 500, all answer", "ms"),
    ("hanging", "half_hang_p99_ms", "p99 of these 500, the others hang", "ms"),
    ("pulls", "alone_p99_ms", "main's answers, p99, nobody waits", "ms"),
    ("pulls", "with_500_waiting_p99_ms", "main's answers, p99, 500 wait in a pull", "ms"),
    ("overtaking", "median_ms", "critical past the backlog of low ones, median", "ms"),
    ("overtaking", "slowest_ms", "critical past the backlog of low ones, the slowest of 20", "ms"),
    ("overtaking", "still_waiting", "low ones that waited all the while", ""),
    ("due", "look_ms", "looking at 100,000 due retries", "ms"),
    ("due", "look_rows", "rows and index entries that the look reads", ""),
    ("due", "claim_500_ms", "claiming 500 of them", "ms"),
    ("due", "claim_500_rows", "rows and index entries that the claim reads", ""),
)
"""Part, figure, what it is, unit."""


def markdown(document: dict[str, Any]) -> str:
    """The table as docs/performance.md shows it."""
    lines = [f"{document['date']}; {document['machine']}.", "", "| what | measured | asked for |", "|---|--:|--:|"]
    for part, key, what, unit in ASKED:
        if part in document["parts"]:
            asked = " ".join(map(_text, LIMITS.get((part, key), ())))
            measured = f"{_text(document['parts'][part][key])} {unit}".strip()
            lines.append(f"| {what} | {measured} | {asked} |")
    return "\n".join(lines) + "\n"


def misses(document: dict[str, Any]) -> list[str]:
    """What was measured and is not what a run must reach."""
    found = []
    for (part, key), (sign, limit) in LIMITS.items():
        value = document["parts"].get(part, {}).get(key)
        if value is not None and not (value < limit if sign == "<" else value > limit):
            found.append(f"{part} {key} is {_text(value)}, asked for is {sign} {_text(limit)}")
    return found


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.2f}" if value < 10 else f"{value:,.0f}"


def plot(document: dict[str, Any], out: Path) -> None:
    """From the submit to the arrival, and arrivals in each second."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.plot(document["series"]["latency"], range(101), label="measured")
    for limit, percent in ((30, 50), (150, 99)):
        left.plot([limit], [percent], "rv", label="asked for" if percent == 50 else None)
    left.set(xscale="log", xlabel="ms from submit to webhook received", ylabel="% of messages", title="100 messages a second")
    left.legend()
    right.bar(range(len(document["series"]["rate"])), document["series"]["rate"], label="measured")
    right.axhline(700, color="red", linestyle="--", label="asked for")
    right.set(xlabel="second", ylabel="webhook deliveries", title="30,000 messages to ten destinations")
    right.legend(loc="lower right")
    figure.savefig(out, dpi=110)
    plt.close(figure)
