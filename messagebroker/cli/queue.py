"""`messagebroker queue …`."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import redis
import typer
from rich.table import Table

from messagebroker.cli import queue_controls
from messagebroker.cli.actor import this_user
from messagebroker.cli.printing import print_table
from messagebroker.cli.queue_controls import QueueName
from messagebroker.db.connection import open_database
from messagebroker.errors import Refused, Unavailable
from messagebroker.ops import failures, ids, queue_peek, queue_stats
from messagebroker.ops.deliveries.routing import router_of
from messagebroker.ops.queue_stats import QueueStats
from messagebroker.ops.queues import QUEUES, QueueDepth, depths
from messagebroker.ops.redis_client import connect, unavailable
from messagebroker.settings import load

app = typer.Typer()
queue_controls.add_to(app)

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command()
def stats(as_json: AsJson = False) -> None:
    """What waits, runs, is for later, has failed or is stuck in each queue, in messages, and how fast they move; then
    the same of each channel's deliveries.

    Example: messagebroker queue stats --json
    """
    settings = load(role="worker")
    open_database(settings)
    with connect(settings) as client:
        try:
            try:
                found = queue_stats.look(client)
            except Unavailable as error:  # Redis' side alone is what one wants to see while a backlog grows
                typer.echo(f"without what is stored: {error}", err=True)
                _show_depths(depths(client), as_json=as_json)
                return
        except redis.RedisError as error:
            raise unavailable(client, error) from error
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found), default=lambda moment: moment.isoformat()))
    else:
        _show(found)


def _show(found: QueueStats) -> None:
    table = Table("queue")
    columns = ("waiting", "running", "delayed", "failed", "stuck", "oldest", "in/s", "stored/s", "sent/s")
    for column in columns:
        table.add_column(column, justify="right")
    for queue in found.queues:
        counts = (queue.waiting, queue.running, queue.delayed, queue.failed, queue.stuck)
        rates = (queue.in_per_second, queue.stored_per_second, queue.delivered_per_second)
        cells = [f"{number:,}" for number in counts] + [_age(queue.oldest_seconds)] + [f"{rate:,.1f}" for rate in rates]
        table.add_row(f"{queue.queue} (paused)" if queue.paused else queue.queue, *cells)
    print_table(table)
    _show_channels(found)
    for queue in found.queues:
        if queue.paused is not None:
            since, who, why = queue.paused.paused_at, queue.paused.paused_by, queue.paused.reason
            typer.echo(f"{queue.queue} was paused at {since:%Y-%m-%d %H:%M:%S} UTC by {who}" + (f": {why}" if why else ""))
    workers, mains = found.queues[0].workers, found.queues[-1].workers
    typer.echo(f"{workers} worker processes, {mains} of main; Redis: {found.redis.operations_per_second:,} operations a second")
    typer.echo(f"{found.scheduled:,} messages are scheduled, {found.ingest_failures:,} could not be stored")
    if any(queue.failed for queue in found.queues):
        typer.echo("failed deliveries are dead letters: see `messagebroker dead-letters groups`, then `… dead-letters retry`")


def _show_channels(found: QueueStats) -> None:
    table = Table("channel")
    for column in ("waiting", "running", "delayed", "failed", "stuck", "oldest"):
        table.add_column(column, justify="right")
    for one in found.channels:
        counts = (one.waiting, one.running, one.delayed, one.failed, one.stuck)
        table.add_row(one.channel, *(f"{number:,}" for number in counts), _age(one.oldest_seconds))
    print_table(table)


def _age(seconds: float) -> str:
    """40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _show_depths(found: list[QueueDepth], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"queues": [dataclasses.asdict(depth) for depth in found]}))
        return
    table = Table("queue")
    for column in ("messages", "calls", "running", "oldest, s", "dead letters"):
        table.add_column(column, justify="right")
    for depth in found:
        numbers = (depth.messages, depth.calls, depth.running, depth.oldest_seconds, depth.dead_letters)
        table.add_row(depth.queue, *(f"{number:,}" for number in numbers))
    print_table(table)


@app.command()
def peek(
    queue: QueueName, limit: Annotated[int, typer.Option(min=1, max=queue_peek.MOST)] = 20, as_json: AsJson = False
) -> None:
    """The next messages of a queue, without taking them and without their bodies.

    Example: messagebroker queue peek low --limit 5
    """
    settings = load(role="worker")
    open_database(settings)
    with connect(settings) as client:
        try:
            found = queue_peek.peek(client, queue, limit)
        except redis.RedisError as error:
            raise unavailable(client, error) from error
    if as_json:
        items = [{**dataclasses.asdict(one), "message_id": ids.text(one.message_id)} for one in found]
        typer.echo(json.dumps({"queue": queue, "items": items}, default=lambda moment: moment.isoformat()))
        return
    table = Table("message", "client", "topic", "age, s", "is", "attempts")
    for one in found:
        what = "to be stored" if one.subscription_id is None else f"for subscription {one.subscription_id}"
        table.add_row(ids.text(one.message_id), one.client, one.topic, f"{one.age_seconds:,}", what, str(one.attempts))
    print_table(table, f"nothing of {queue} waits")


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
    print_table(table, "none")
    typer.echo(f"{total:,} in all" + ("; `messagebroker queue retry --all` stores them again" if total else ""))


@app.command()
def retry(
    message_ids: Annotated[list[str] | None, typer.Argument(help="Ids as `queue failures` shows them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every failed record.")] = False,
    as_json: AsJson = False,
) -> None:
    """Store again what could not be stored; what succeeds is a failure no more. Of failed deliveries: `dead-letters retry`.

    Example: messagebroker queue retry 0190f3c2-7d5e-7c3a-9b1e-2f6d5a4b3c2d
    """
    if named := [text for text in message_ids or [] if text in QUEUES]:
        raise Refused(
            f"this stores again what `queue failures` shows; the failed deliveries of {named[0]} and of every other queue are"
            " dead letters: `messagebroker dead-letters groups` shows them, `messagebroker dead-letters retry` retries them"
        )
    if bool(message_ids) == everything:
        raise typer.BadParameter("give ids, or --all")
    settings = load(role="worker")
    open_database(settings)
    router = router_of(settings)
    chosen = failures.all_ids() if everything else [_parsed(text) for text in message_ids or []]
    refused: dict[str, str] = {}
    for failure_id in chosen:
        name = ids.text(failure_id)
        try:
            failures.retry(failure_id, this_user(), router)
        except Refused as error:
            refused[name] = str(error)
        if not as_json:
            typer.echo(f"{name}: {refused[name]}" if name in refused else f"{name} stored", err=name in refused)
    if as_json:
        stored = [name for name in map(ids.text, chosen) if name not in refused]
        typer.echo(json.dumps({"stored": stored, "refused": refused}))
    if refused:
        raise Refused(f"{len(refused)} of {len(chosen)} could not be stored and are kept")


def _parsed(text: str) -> bytes:
    found = ids.parse(text)
    if found is None:
        raise typer.BadParameter(f"{text} is no message id")
    return found
