"""`messagebroker dead-letters …`: failed deliveries. Works on the database directly, so that it works while main is down."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from messagebroker.cli.actor import this_user
from messagebroker.cli.printing import print_table
from messagebroker.cli.progress import counting
from messagebroker.db.connection import open_database
from messagebroker.db.schema import require_current
from messagebroker.errors import Refused
from messagebroker.ops import dead_letter_moves, dead_letters
from messagebroker.ops.dead_letter_moves import DEFAULT_RATE, MOST_RATE, MoveView
from messagebroker.ops.dead_letter_pieces import advance
from messagebroker.ops.dead_letter_selection import Position, Selection
from messagebroker.ops.dead_letters import DeadLetterView, Group, GroupView
from messagebroker.settings import load

app = typer.Typer(help="Failed deliveries: see, retry, purge.")

_PAGE = 200
_LOOK_SECONDS = 0.25

Subscription = Annotated[int | None, typer.Option("--subscription", help="The number of the subscription.", min=1)]
Fingerprint = Annotated[str | None, typer.Option(help="The kind of error, as `dead-letters groups` shows it.")]
Since = Annotated[datetime | None, typer.Option(help="Messages that were accepted at this time (UTC) or after it.")]
Until = Annotated[datetime | None, typer.Option(help="Messages that were accepted before this time (UTC).")]
Message = Annotated[str | None, typer.Option(help="The id of one message.")]
Everything = Annotated[bool, typer.Option("--all", help="Every dead letter there is.")]
Reason = Annotated[str, typer.Option(help="Why; the audit log and the messages' timelines keep it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Whether to stay until it is done; workers do it in any case.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command()
def groups(as_json: AsJson = False) -> None:
    """How many failed where, by the kind of error; the most first.

    Example: messagebroker dead-letters groups
    """
    _open()
    found: list[GroupView] = []
    position: Group | None = None
    while more := dead_letters.groups(_PAGE, position):
        found += more
        position = more[-1].subscription_id, more[-1].fingerprint
    found.sort(key=lambda group: -group.count)
    if as_json:
        _echo(found)
        return
    table = Table("subscription", "fingerprint", "number", "first accepted", "last accepted", "error")
    for group in found:
        name = f"{group.subscription_id} {group.subscription or ''}" + (f" ({group.state})" if group.state != "active" else "")
        number, first, last = f"{group.count:,}", _time(group.first_at), _time(group.last_at)
        table.add_row(name, group.fingerprint, number, first, last, group.error)
    print_table(table, "no dead letters")


@app.command("list")
def list_some(
    subscription: Subscription = None,
    fingerprint: Fingerprint = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="The first so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """One by one; of a subscription, of a kind of error at it, and of that also in a time.

    Example: messagebroker dead-letters list --subscription 7 --fingerprint 0f3c1e9a77b2d410
    """
    _open()
    selection = _selection(subscription, fingerprint, since, until)
    found: list[DeadLetterView] = []
    position: Position | None = None
    while len(found) < limit and (more := dead_letters.page(selection, min(_PAGE, limit - len(found)), position)):
        found += more
        position = dead_letters.position_of(more[-1])
    if as_json:
        _echo(found)
        return
    table = Table("message", "subscription", "client", "topic", "failed at", "attempts", "error")
    for one in found:
        table.add_row(
            one.message_id,
            str(one.subscription_id),
            one.client_id,
            one.topic,
            _time(one.failed_at),
            str(one.attempts),
            one.error,
        )
    print_table(table, "no dead letters")


@app.command()
def preview(
    subscription: Subscription = None,
    fingerprint: Fingerprint = None,
    since: Since = None,
    until: Until = None,
    message: Message = None,
    everything: Everything = False,
    as_json: AsJson = False,
) -> None:
    """Count what a retry or a purge would be of. Changes nothing.

    Example: messagebroker dead-letters preview --subscription 7 --since 2026-01-31T08:00
    """
    _open()
    found = dead_letter_moves.preview(_selection(subscription, fingerprint, since, until, message, everything=everything))
    typer.echo(json.dumps(msgspec.to_builtins(found)) if as_json else _counted(found))


@app.command()
def retry(
    subscription: Subscription = None,
    fingerprint: Fingerprint = None,
    since: Since = None,
    until: Until = None,
    message: Message = None,
    everything: Everything = False,
    rate: Annotated[int, typer.Option(help="Messages a second.", min=1, max=MOST_RATE)] = DEFAULT_RATE,
    reason: Reason = "",
    yes: Yes = False,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Have dead letters tried again, with a fresh schedule. Messages keep their ids and times.

    Example: messagebroker dead-letters retry --subscription 7 --rate 50 --reason "the shop is up again"
    """
    _open()
    selection = _selection(subscription, fingerprint, since, until, message, everything=everything)
    found = dead_letter_moves.preview(selection)
    if not yes and found.count > found.not_retryable:
        typer.echo(_counted(found), err=True)
        typer.confirm(f"Retry {found.count - found.not_retryable:,}, {rate:,} a second?", abort=True, err=True)
    _tell(dead_letter_moves.retry(selection, this_user(), rate=rate, reason=reason), wait=wait, as_json=as_json)


@app.command()
def purge(
    reason: Reason,
    subscription: Subscription = None,
    fingerprint: Fingerprint = None,
    since: Since = None,
    until: Until = None,
    message: Message = None,
    everything: Everything = False,
    yes: Yes = False,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Give dead letters up: gone for good after ten minutes in which `undo` brings them back. Messages stay.

    Example: messagebroker dead-letters purge --fingerprint 0f3c1e9a77b2d410 --reason "the shop is closed"
    """
    _open()
    selection = _selection(subscription, fingerprint, since, until, message, everything=everything)
    found = dead_letter_moves.preview(selection)
    if not yes and found.count:
        typer.echo(_counted(found), err=True)
        typed = typer.prompt("Type their number to purge them", err=True).replace(",", "")
        if typed != str(found.count):
            raise Refused(f"{typed!r} is not {found.count}; nothing was changed")
    _tell(dead_letter_moves.purge(selection, this_user(), confirm=found.count, reason=reason), wait=wait, as_json=as_json)


@app.command()
def moves(
    limit: Annotated[int, typer.Option(min=1, max=_PAGE, help="The last so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Retries and purges, the last one first: how far they are, and until when they can be undone.

    Example: messagebroker dead-letters moves
    """
    _open()
    found = dead_letter_moves.page(limit)
    if as_json:
        _echo(found)
        return
    table = Table("move", "kind", "state", "moved", "undone", "by", "at", "undo until", "reason")
    for one in found:
        done, undone = f"{one.moved:,} of {one.total:,}", f"{one.undone:,}"
        until = "now" if one.state == "running" else _time(one.undo_until)
        table.add_row(str(one.id), one.kind, one.state, done, undone, one.created_by, _time(one.created_at), until, one.reason)
    print_table(table, "nothing was retried or purged")


@app.command()
def undo(
    move: Annotated[int, typer.Argument(help="Its number, as `dead-letters moves` shows it.")],
    yes: Yes = False,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Stop a retry or a purge, and put back what can be: of a purge all, of a retry what was not tried yet.

    Example: messagebroker dead-letters undo 12
    """
    _open()
    known = dead_letter_moves.find(move)
    if not yes:
        typer.confirm(f"Undo the {known.kind} of {known.total:,} by {known.created_by}?", abort=True, err=True)
    found = dead_letter_moves.undo(move, this_user())
    if not as_json:
        kept = f"{found.kept:,} were tried again, or expired, by now"
        typer.echo(f"{found.count:,} are put back, {found.not_moved:,} were not touched, {kept}")
    if wait:
        _follow(move, "undoing", quiet=as_json)
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(found)))


def _open() -> None:
    open_database(load(role="worker"))
    require_current()


def _selection(
    subscription: int | None,
    fingerprint: str | None,
    since: datetime | None,
    until: datetime | None,
    message: str | None = None,
    *,
    everything: bool = False,
) -> Selection:
    return Selection(
        subscription_id=subscription,
        fingerprint=fingerprint,
        since=since and since.replace(tzinfo=UTC),
        until=until and until.replace(tzinfo=UTC),
        message_id=message,
        all=everything,
    )


def _counted(found: dead_letter_moves.Preview) -> str:
    text = f"{found.count:,} dead letters of {found.subscriptions:,} subscriptions"
    why = "their subscription is disabled or removed, or they have expired"
    return text + (f"; {found.not_retryable:,} of them cannot be retried: {why}" if found.not_retryable else "")


def _tell(move: MoveView, *, wait: bool, as_json: bool) -> None:
    if not as_json:
        typer.echo(f"move {move.id}: {move.kind} of {move.total:,}; `messagebroker dead-letters undo {move.id}` undoes it")
    if wait:
        move = _follow(move.id, "running", quiet=as_json)
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(move)))
    elif wait:
        typer.echo(
            f"{move.moved:,} of {move.total:,} moved" + (f"; undo until {_time(move.undo_until)}" if move.undo_until else "")
        )


def _follow(number: int, state: str, *, quiet: bool) -> MoveView:
    """Until it is over. Helps the workers with it, who may not run."""
    with counting(f"move {number}", quiet=quiet) as tell:
        while (move := dead_letter_moves.find(number)).state == state:
            tell(move.undone if state == "undoing" else move.moved, move.moved if state == "undoing" else move.total)
            if not advance():
                time.sleep(_LOOK_SECONDS)
    return move


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _echo(found: list[Any]) -> None:
    typer.echo(json.dumps({"items": msgspec.to_builtins(found)}))
