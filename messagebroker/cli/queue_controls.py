"""`messagebroker queue pause | resume | drain | purge | reset-stuck`: an operator's hand on the queues."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any

import redis
import typer

from messagebroker.cli.actor import this_user
from messagebroker.cli.durations import duration
from messagebroker.db.connection import open_database
from messagebroker.errors import Refused
from messagebroker.ops import draining, pausing, purging, stuck
from messagebroker.ops.purging import Purge
from messagebroker.ops.queues import QUEUES
from messagebroker.ops.redis_client import connect, unavailable
from messagebroker.settings import load

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
QueueName = Annotated[str, typer.Argument(help=f"One of {', '.join(QUEUES)}.")]


def pause(
    queue: QueueName, reason: Annotated[str, typer.Option(help="For who finds it paused.")] = "", as_json: AsJson = False
) -> None:
    """Have a queue rest: workers begin nothing new of it within a second. Accepted messages wait in Redis meanwhile.

    Example: messagebroker queue pause low --reason 'the warehouse moves'
    """
    open_database(load(role="worker"))
    found = pausing.pause(queue, reason, this_user())
    shown = {"paused_at": found.paused_at.isoformat(), "paused_by": found.paused_by, "reason": found.reason}
    if as_json:
        typer.echo(json.dumps({"queue": queue, "paused": shown}))
        return
    why = f": {found.reason}" if found.reason else ""  # of who paused it first
    typer.echo(f"{queue} is paused by {found.paused_by} since {found.paused_at:%Y-%m-%d %H:%M:%S} UTC{why}")


def resume(queue: QueueName, as_json: AsJson = False) -> None:
    """Let a paused queue go on.

    Example: messagebroker queue resume low
    """
    open_database(load(role="worker"))
    changed = pausing.resume(queue, this_user())
    if as_json:
        typer.echo(json.dumps({"queue": queue, "paused": None, "changed": changed}))
        return
    typer.echo(f"{queue} goes on" if changed else f"{queue} was not paused")


def drain(
    queue: Annotated[list[str] | None, typer.Argument(help="Without one: all of them.")] = None,
    timeout: Annotated[str, typer.Option(help="Give up after this time, with exit code 1.")] = "10m",
    stored: Annotated[bool, typer.Option("--stored", help="Only until every accepted message is stored.")] = False,
    as_json: AsJson = False,
) -> None:
    """Wait until nothing waits and nothing runs. Stop who sends first; what is for later, such as retries, stays.

    Example: messagebroker queue drain --timeout 5m
    """
    settings, shown = load(role="worker"), _Progress(quiet=as_json)
    open_database(settings)
    seconds = duration(timeout).total_seconds()
    with connect(settings) as client:
        try:
            draining.drain(client, queue or QUEUES, seconds=seconds, only_stored=stored, report=shown.report)
        except redis.RedisError as error:
            raise unavailable(client, error) from error
    typer.echo(json.dumps({"queues": list(queue or QUEUES), "drained": True}) if as_json else "drained")


class _Progress:
    """A line whenever the numbers change: in a terminal and in a log file alike."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._last: tuple[int, int] | None = None

    def report(self, waiting: int, running: int) -> None:
        if not self._quiet and (waiting, running) != self._last and waiting + running:
            typer.echo(f"{waiting:,} wait, {running:,} run", err=True)
        self._last = (waiting, running)


def purge(
    queue: QueueName,
    reason: Annotated[str | None, typer.Option(help="For the audit log.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Cancel everything that waits for delivery in a queue, for good. Accepted messages that are not stored yet stay.

    Example: messagebroker queue purge low --dry-run
    Example: messagebroker queue purge low --reason 'test data of the load test'
    """
    settings = load(role="worker")
    open_database(settings)
    with connect(settings) as client:
        try:
            found = purging.preview(client, queue)
            if not dry_run:
                _ask(found, reason, yes=yes, as_json=as_json)
                found = _purged(client, found, reason or "")
        except redis.RedisError as error:
            raise unavailable(client, error) from error
    _tell_purge(found, dry_run=dry_run, as_json=as_json)


def _ask(found: Purge, reason: str | None, *, yes: bool, as_json: bool) -> None:
    if not reason:
        raise Refused("say why with --reason: the audit log keeps it")
    if yes:
        return
    if as_json:
        raise Refused("give --yes: nobody can be asked here")
    typer.echo(_sentence(found, dry_run=True), err=True)
    typed: str = typer.prompt(f"Type the queue's name, {found.queue}, to purge it", err=True)
    if typed.strip() != found.queue:
        raise Refused("nothing was purged")


def _purged(client: redis.Redis, found: Purge, reason: str) -> Purge:
    cancelled = 0
    while True:
        done = purging.purge(client, found.queue, reason=reason, before=found.before, actor=this_user())
        cancelled += done.cancelled
        if not done.left:
            return replace(done, cancelled=cancelled)
        typer.echo(f"{cancelled:,} cancelled, {done.left:,} left", err=True)


def _tell_purge(found: Purge, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        shown: dict[str, Any] = {"dry_run": dry_run, "queue": found.queue, "before": found.before.isoformat()}
        typer.echo(json.dumps({**shown, "cancelled": found.cancelled, "left": found.left, "unstored": found.unstored}))
        return
    typer.echo(_sentence(found, dry_run=dry_run))


def _sentence(found: Purge, *, dry_run: bool) -> str:
    number = found.left if dry_run else found.cancelled
    said = f"{number:,} pending deliveries of {found.queue} {'would be' if dry_run else 'are'} cancelled"
    if found.unstored:
        said += f"; {found.unstored:,} accepted messages that are not stored yet stay, and will be delivered"
    return said


def reset_stuck(
    older_than: Annotated[str, typer.Option(help="Taken longer ago than this: 15m, 1h, 2d.")] = "1h",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put right what is stuck: deliveries of workers that are gone, messages that their deliveries left behind.

    Example: messagebroker queue reset-stuck --older-than 1h --dry-run
    """
    open_database(load(role="worker"))
    age = duration(older_than)
    found = stuck.look(age)
    if not dry_run and found.total:
        if not yes and as_json:
            raise Refused("give --yes: nobody can be asked here")
        if not yes:
            typer.echo(_stuck(found, "would be"), err=True)
            typer.confirm("Go on?", abort=True, err=True)
        found = stuck.reset(age, this_user())
    if as_json:
        shown = {"dry_run": dry_run, "deliveries": found.deliveries, "messages": found.messages}
        typer.echo(json.dumps({**shown, "oldest_seconds": round(found.oldest_seconds, 3)}))
        return
    typer.echo(_stuck(found, "would be" if dry_run else "are") if found.total else "nothing is stuck")


def _stuck(found: stuck.Reset, verb: str) -> str:
    by_queue = ", ".join(f"{queue}: {number:,}" for queue, number in found.deliveries.items() if number)
    return (
        f"{sum(found.deliveries.values()):,} deliveries {verb} pending again{f' ({by_queue})' if by_queue else ''}, "
        f"{found.messages:,} messages {verb} ended as their deliveries"
    )


def add_to(app: typer.Typer) -> None:
    """As commands of `messagebroker queue`."""
    for command in (pause, resume, drain, purge):
        app.command()(command)
    app.command("reset-stuck")(reset_stuck)
