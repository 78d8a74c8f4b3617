"""`messagebroker breakers …`: works on the database and Redis directly, so that it works while main is down."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from messagebroker.cli.actor import this_user
from messagebroker.cli.printing import print_table
from messagebroker.cli.users import connect as connect_database
from messagebroker.ops import breaker_events, breaker_list
from messagebroker.ops.breaker_list import Shown
from messagebroker.ops.breaker_state import HALF_OPEN, OPEN
from messagebroker.ops.redis_client import connect
from messagebroker.settings import load

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
_PAGE = 500


@app.command("list")
def list_breakers(
    everything: Annotated[bool, typer.Option("--all", help="Closed ones, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the destinations that fail, and when each is tried next.

    Example: messagebroker breakers list --all
    """
    connect_database()
    found: list[Shown] = []
    with connect(load()) as redis:
        states = () if everything else (OPEN, HALF_OPEN)
        after = None
        while page := breaker_list.page(redis, limit=_PAGE, after=after, states=states):
            found += page
            after = page[-1].subscription_id
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(one) for one in found], default=datetime.isoformat))
        return
    if not found and not everything:
        typer.echo("no breaker is open")
        return
    table = Table("id", "subscription", "channel", "breaker", "since", "failures", "next try")
    for one in found:
        state = f"{one.state}, disabled" if one.disabled else one.state
        numbers = (_time(one.since), f"{one.failures:,}", _time(one.next_try))
        table.add_row(str(one.subscription_id), one.name, one.channel, state, *numbers)
    print_table(table, "there is no subscription")


@app.command()
def events(
    subscription: Annotated[int | None, typer.Option("--subscription", help="Of this one: its number.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show when breakers opened and closed, newest first.

    Example: messagebroker breakers events --subscription 7
    """
    connect_database()
    names = ("id", "subscription_id", "created_at", "state", "why")
    rows = [
        {name: getattr(event, name) for name in names} for event in breaker_events.page(limit, subscription_id=subscription)
    ]
    if as_json:
        typer.echo(json.dumps(rows, default=datetime.isoformat))
        return
    table = Table("at", "subscription", "breaker", "why")
    for row in rows:
        table.add_row(_time(row["created_at"]), str(row["subscription_id"]), row["state"], row["why"])
    print_table(table, "no breaker opened or closed")


@app.command()
def reset(
    subscription: Annotated[int, typer.Argument(help="The subscription's number.")],
    as_json: AsJson = False,
) -> None:
    """Close a breaker, when its destination works again: it is tried within a second.

    Example: messagebroker breakers reset 7
    """
    connect_database()
    with connect(load()) as redis:
        found = breaker_list.reset(redis, subscription, this_user())
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found), default=datetime.isoformat))
        return
    typer.echo(f"the breaker of subscription {found.subscription_id} ({found.name}) is {found.state}")


def _time(moment: datetime | None) -> str:
    return "–" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"
