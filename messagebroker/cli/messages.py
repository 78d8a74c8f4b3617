"""`messagebroker messages …`. Works on the database directly, so that it works while main is down."""

from __future__ import annotations

import json
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from messagebroker.cli.printing import print_table
from messagebroker.db.connection import open_database
from messagebroker.db.schema import require_current
from messagebroker.errors import NotFound
from messagebroker.ops import ids
from messagebroker.ops import timeline as timelines
from messagebroker.ops.timeline import Event, Timeline
from messagebroker.settings import load

app = typer.Typer(help="What happened to messages.")


@app.callback()
def group() -> None:
    """What happened to messages."""


@app.command()
def timeline(
    message_id: Annotated[str, typer.Argument(help="As the sender was told it.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Everything that happened to a message: from the sender's certificate to the last attempt and every operator's action.

    Example: messagebroker messages timeline 0190f3c2-7d5e-7c3a-9b1e-2f6d5a4b3c2d
    """
    known = ids.parse(message_id)
    if known is None:
        raise NotFound(f"{message_id!r} is no message id, which is a UUID such as 0190b8e0-7c1e-7cc3-98c4-dc0c0c07398f")
    open_database(load(role="main"))
    require_current()
    found = timelines.of(known)
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(found)))
    else:
        _show(found)


def _show(found: Timeline) -> None:
    message, certificate = found.message, found.certificate
    typer.echo(f"{message.message_id} of {message.client_id} on {message.topic}: {message.status}")
    if certificate is not None:
        ends = f", valid until {certificate.not_after:%Y-%m-%d}" if certificate.not_after else ""
        revoked = f", revoked {certificate.revoked_at:%Y-%m-%d %H:%M:%S}" if certificate.revoked_at else ""
        typer.echo(f"certificate {certificate.serial} {certificate.name or '(not in the books)'}{ends}{revoked}")
    events = Table("at (UTC)", "what", "subscription", "who", "more")
    for event in found.events:
        where = "" if event.subscription_id is None else f"{event.subscription_id} {event.subscription or ''}"
        events.add_row(f"{event.at:%Y-%m-%d %H:%M:%S.%f}"[:-3], event.kind, where, event.who, _more(event))
    print_table(events)
    for one in found.deliveries:
        due = f", due {one.due_at:%Y-%m-%d %H:%M:%S}" if one.due_at else ""
        typer.echo(f"{one.subscription_id} {one.subscription or ''}: {one.status}, attempts {one.attempts}{due}")
    if not found.is_whole:
        typer.echo("there were more attempts or actions than are shown; these are the latest", err=True)


def _more(event: Event) -> str:
    told = [
        f"attempt {event.number}" if event.number is not None else None,
        event.outcome,
        f"code {event.code}" if event.code is not None else None,
        f"{event.duration_ms} ms" if event.duration_ms is not None else None,
        event.error,
        *(f"{name} {value}" for name, value in (event.details or {}).items()),
    ]
    return ", ".join(part for part in told if part)
