"""The table, the JSON and the plot of one bench run."""

from __future__ import annotations

import json
import os
import platform
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
from rich.console import Console
from rich.table import Table

mpl.use("Agg")
from matplotlib import pyplot as plt


@dataclass(kw_only=True)
class Series:
    """One measured thing: a value a round."""

    name: str
    unit: str
    values: list[float] = field(default_factory=list)
    better: str = "more"

    @property
    def median(self) -> float:
        """The figure that is reported."""
        return statistics.median(self.values)


@dataclass(kw_only=True)
class Report:
    """Everything one run measured."""

    machine: str
    date: str
    series: dict[str, Series] = field(default_factory=dict)
    processes: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, key: str, name: str, unit: str, value: float) -> None:
        """One more round's value of `key`."""
        self.series.setdefault(key, Series(name=name, unit=unit)).values.append(value)

    def ratio(self, upper: str, lower: str) -> float:
        """The median of the rounds' own ratios: both were measured side by side."""
        return statistics.median(a / b for a, b in zip(self.series[upper].values, self.series[lower].values, strict=True))

    def as_json(self) -> dict[str, Any]:
        """Plain data, with the medians beside the rounds."""
        data = asdict(self)
        for key, series in self.series.items():
            data["series"][key]["median"] = series.median
        return data


def machine() -> str:
    """The machine in a few words."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in cpuinfo.read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{os.cpu_count()} cores ({model}), {platform.system()} {platform.release()}, Python {platform.python_version()}"


def show(report: Report, ratios: list[tuple[str, float, float]]) -> None:
    """Prints the tables: figures, ratios against their targets, processes."""
    console = Console(width=120)
    table = Table(title=f"Message Broker bench, {report.date}: {report.machine}")
    for column in ("what", "median", "lowest", "highest", "unit"):
        table.add_column(column, justify="left" if column in {"what", "unit"} else "right")
    for series in report.series.values():
        numbers = [_number(value) for value in (series.median, min(series.values), max(series.values))]
        table.add_row(series.name, *numbers, series.unit)
    console.print(table)
    table = Table(title="Ratios, measured side by side")
    for column in ("ratio", "measured", "asked for"):
        table.add_column(column)
    for name, measured, target in ratios:
        table.add_row(name, f"{measured:.2f}", f"{target:.2f}")
    console.print(table)
    table = Table(title="Processes")
    for column in (
        "process",
        "peak memory, MB",
        "idle memory, MB",
        "batches: µs of processor a message",
        "singles: µs of processor a message",
    ):
        table.add_column(column, justify="left" if column == "process" else "right")
    for name, facts in report.processes.items():
        table.add_row(name, *(f"{facts[key]:.1f}" if key in facts else "" for key in ("peak", "idle", "batch", "single")))
    console.print(table)


def markdown(report: Report, ratios: list[tuple[str, float, float]]) -> str:
    """The tables as docs/performance.md shows them."""
    lines = [f"{report.date}; {report.machine}.", "", "| what | median | lowest | highest | unit |", "|---|--:|--:|--:|---|"]
    for series in report.series.values():
        numbers = " | ".join(_number(value) for value in (series.median, min(series.values), max(series.values)))
        lines.append(f"| {series.name} | {numbers} | {series.unit} |")
    lines += ["", "| ratio, round by round | measured | asked for |", "|---|--:|--:|"]
    lines += [f"| {name} | {measured:.2f} | {target:.2f} |" for name, measured, target in ratios]
    lines += ["", "| process | idle MB | peak MB | batches: µs a message | singles: µs a message |", "|---|--:|--:|--:|--:|"]
    for name, facts in report.processes.items():
        cells = " | ".join(f"{facts[key]:.1f}" if key in facts else "" for key in ("idle", "peak", "batch", "single"))
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def write(report: Report, ratios: list[tuple[str, float, float]], folder: Path) -> tuple[Path, Path]:
    """JSON, tables in Markdown, and plot; the paths of the first and the last."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{report.date}.md").write_text(markdown(report, ratios), encoding="utf-8")
    data = folder / f"{report.date}.json"
    data.write_text(json.dumps(report.as_json(), indent=1) + "\n", encoding="utf-8")
    picture = folder / f"{report.date}.png"
    groups = [("Batches of 500", [s for s in report.series.values() if s.unit == "messages/s" or s.unit == "rows/s"]),
              ("Single submits", [s for s in report.series.values() if s.unit in {"submits/s", "requests/s"}])]  # fmt: skip
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.2), constrained_layout=True)
    for axis, (title, series) in zip(axes, groups, strict=True):
        names = [item.name for item in series]
        medians = [item.median for item in series]
        low = [item.median - min(item.values) for item in series]
        high = [max(item.values) - item.median for item in series]
        axis.barh(names, medians, xerr=[low, high], color=["#2b6cb0" if "ceiling" not in name else "#a0aec0" for name in names])
        axis.invert_yaxis()
        axis.set_title(title)
        axis.set_xlabel("a second (median of the rounds; the line spans lowest to highest)")
    figure.savefig(picture, dpi=110)
    plt.close(figure)
    return data, picture
