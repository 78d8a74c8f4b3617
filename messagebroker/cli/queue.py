"""`messagebroker queue …`."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import redis
import typer
from rich.console import Console
from rich.table import Table

from messagebroker.cli.actor import this_user
from messagebroker.db.connection import open_database
from messagebroker.errors import Refused
from messagebroker.ops import failures, ids
from messagebroker.ops.queues import depths
from messagebroker.ops.redis_client import connect, unavailable
from messagebroker.settings import load

app = typer.Typer(help="What waits in Redis, and what could not be stored.")

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command()
def stats(as_json: AsJson = False) -> None:
    """Messages waiting or running in each queue, and how old the oldest one is.

    Example: messagebroker queue stats --json
    """
    with connect(load()) as client:
        try:
            found = depths(client)
        except redis.RedisError as error:
            raise unavailable(client, error) from error
    if as_json:
        typer.echo(json.dumps({"queues": [dataclasses.asdict(depth) for depth in found]}))
        return
    table = Table("queue")
    for column in ("messages", "calls", "running", "oldest, s", "dead letters"):
        table.add_column(column, justify="right")
    for depth in found:
        numbers = (depth.messages, depth.calls, depth.running, depth.oldest_seconds, depth.dead_letters)
        table.add_row(depth.queue, *(f"{number:,}" for number in numbers))
    Console().print(table)


@app.command("failures")
def list_failures(as_json: AsJson = False, limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50) -> None:
    """Accepted messages that the database refused or that killed their worker. They are kept, sealed, until retried.

    Example: messagebroker queue failures
    """
    open_database(load(role="worker"))
    total, found = failures.count(), failures.newest(limit)
    rows = [
        (ids.text(failure.id), failure.client_id, failure.failed_at.isoformat(timespec="seconds"), failure.error)
        for failure in found
    ]
    if as_json:
        names = ("message_id", "client_id", "failed_at", "error")
        typer.echo(json.dumps({"total": total, "items": [dict(zip(names, row, strict=True)) for row in rows]}))
        return
    table = Table("message", "client", "failed at", "error")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    typer.echo(f"{total:,} in all" + ("; `messagebroker queue retry --all` stores them again" if total else ""))


@app.command()
def retry(
    message_ids: Annotated[list[str] | None, typer.Argument(help="Ids as `queue failures` shows them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every failed record.")] = False,
) -> None:
    """Store failed records again; those that succeed are failures no more.

    Example: messagebroker queue retry 0190f3c2-7d5e-7c3a-9b1e-2f6d5a4b3c2d
    """
    if bool(message_ids) == everything:
        raise typer.BadParameter("give ids, or --all")
    open_database(load(role="worker"))
    chosen = failures.all_ids() if everything else [_parsed(text) for text in message_ids or []]
    refused = 0
    for failure_id in chosen:
        try:
            failures.retry(failure_id, this_user())
            typer.echo(f"{ids.text(failure_id)} stored")
        except Refused as error:
            refused += 1
            typer.echo(f"{ids.text(failure_id)}: {error}", err=True)
    if refused:
        raise Refused(f"{refused} of {len(chosen)} could not be stored and are kept")


def _parsed(text: str) -> bytes:
    found = ids.parse(text)
    if found is None:
        raise typer.BadParameter(f"{text} is no message id")
    return found
