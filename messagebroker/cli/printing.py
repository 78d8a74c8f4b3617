"""How commands print what they found: a field a line, or JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table


def document(entry: Any) -> dict[str, Any]:
    """A dataclass as JSON can hold it."""
    return {name: _plain(value) for name, value in asdict(entry).items()}


def print_fields(fields: dict[str, Any], *, as_json: bool) -> None:
    """What is None is left out for people."""
    if as_json:
        typer.echo(json.dumps(fields))
        return
    width = max(map(len, fields))
    for name, value in fields.items():
        if value is not None:
            typer.echo(f"{name:{width}} {_line(value)}")


def print_table(table: Table, nothing: str = "") -> None:
    """A line for each row, however narrow the terminal is: it wraps the end of the line, where the longest column belongs.

    Squeezed into eighty columns, or into a pipe, ids, times and errors would be cut, and `grep` would not find them.
    `nothing` is said in place of a table without rows. What receivers answered is in some: no markup, no control characters.
    """
    if nothing and not table.row_count:
        typer.echo(nothing)
        return
    table.box, table.pad_edge = None, False
    for column in table.columns:
        column.no_wrap = True
    console = Console(markup=False, emoji=False, highlight=False, color_system=None, force_terminal=False)
    console.width = Measurement.get(console, console.options.update(max_width=1_000_000), table).maximum
    with console.capture() as said:
        console.print(table, crop=False)
    for line in said.get().rstrip("\n").split("\n"):
        typer.echo(printable(line).rstrip())


def printable(line: str) -> str:
    """What others wrote, such as a receiver's answer, without what moves the cursor or clears the screen."""
    return "".join(sign if sign.isprintable() else " " for sign in line)


def as_text(moment: datetime | None) -> str:
    """For people."""
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _line(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
