"""`messagebroker workers …`: the processes that store and deliver. Works on the database directly."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from messagebroker.cli.actor import this_user
from messagebroker.cli.printing import print_table
from messagebroker.db.connection import open_database
from messagebroker.db.schema import require_current
from messagebroker.errors import Refused
from messagebroker.ops import clock, concurrency, workers
from messagebroker.ops.concurrency import DELIVERIES, MOST, THREADS, Override
from messagebroker.ops.workers import WorkerProcess
from messagebroker.settings import load

app = typer.Typer(invoke_without_command=True)

_PAGE = 500
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.callback()
def group(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the processes that store and deliver, as `list` does, or set how much they do at once.

    Example: messagebroker workers
    """
    if context.invoked_subcommand is None:
        list_all(as_json=as_json)


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """Show the worker processes, as they said with their last heartbeat; those that were killed stay for a day.

    Example: messagebroker workers list
    """
    _open()
    found: list[WorkerProcess] = []
    while page := workers.page(limit=_PAGE, after=found[-1].instance if found else ""):
        found += page
    overrides = concurrency.overrides()
    if as_json:
        document = {"workers": [_plain(asdict(one)) for one in found], "overrides": _shown(overrides)}
        typer.echo(json.dumps(document))
        return
    table = Table("host", "pid", "version", "runs since", "seen")
    for column in ("threads", "calls", "deliveries", "at most", "stored/s", "delivered/s"):
        table.add_column(column, justify="right")
    now = clock.now()
    for one in found:
        seen = f"{max(0, int((now - one.seen_at).total_seconds()))} s ago" + ("" if one.runs else ", silent")
        numbers = (one.threads, one.calls, one.deliveries, one.deliveries_at_once)
        rates = (one.stored_per_second, one.delivered_per_second)
        cells = ["–" if number is None else f"{number:,}" for number in (*numbers, *rates)]
        table.add_row(one.host, str(one.pid), one.version or "–", f"{one.started_at:%Y-%m-%d %H:%M:%S}", seen, *cells)
    print_table(table, "no worker runs")
    _tell(overrides)


@app.command()
def scale(
    threads: Annotated[int | None, typer.Option(min=1, max=MOST[THREADS], help="That store messages.")] = None,
    deliveries: Annotated[int | None, typer.Option(min=1, max=MOST[DELIVERIES], help="Under way at once.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Back to what the settings say.")] = False,
    as_json: AsJson = False,
) -> None:
    """Set how much each worker process does at once, without a restart; they follow within seconds.

    Example: messagebroker workers scale --threads 4 --deliveries 2000
    Example: messagebroker workers scale --reset
    """
    given = {name: value for name, value in ((THREADS, threads), (DELIVERIES, deliveries)) if value is not None}
    if reset == bool(given):
        raise Refused("give --threads or --deliveries, or --reset")
    _open()
    numbers: dict[str, int | None] = dict.fromkeys(MOST) if reset else {**given}
    found = concurrency.scale(numbers, this_user())
    if as_json:
        typer.echo(json.dumps({"overrides": _shown(found)}))
        return
    _tell(found)


def _open() -> None:
    open_database(load(role="worker"))
    require_current()


def _tell(overrides: dict[str, Override]) -> None:
    for name in MOST:
        found = overrides.get(name)
        said = f"{found.value}, set by {found.changed_by} at {found.changed_at:%Y-%m-%d %H:%M:%S} UTC" if found else None
        typer.echo(f"{name.upper():19} {said or 'as the settings of each worker say'}")


def _shown(overrides: dict[str, Override]) -> dict[str, Any]:
    return {name: _plain(asdict(overrides[name])) if name in overrides else None for name in MOST}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in values.items()}
