"""`messagebroker email bounce`: what a mail server or the reader of a mailbox hands over."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from messagebroker.cli.actor import this_user
from messagebroker.db.connection import open_database
from messagebroker.db.schema import require_current
from messagebroker.db.writing import give_up_connection
from messagebroker.errors import BrokerError, NotFound
from messagebroker.ops import bounces, subscription_failures
from messagebroker.settings import Settings, load

TRY_AGAIN = 75
"""EX_TEMPFAIL: mail servers keep the e-mail then, and call the command again later."""

app = typer.Typer(callback=lambda: None)  # so that `bounce` stays a command of its own beside nothing else
_SAID = {
    "failed": "was delivered and has failed now",
    "noted": "is not delivered (any more); the bounce is in its history",
    "known": "has this bounce already",
    "gone": "is not there any more",
}


@app.command()
def bounce(
    file: Annotated[str, typer.Argument(help="A delivery status notification as it came; - reads standard input.")] = "-",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Take in an e-mail that says that one of ours did not arrive: the delivery becomes a dead letter with what it says.

    Anything else is ignored with exit code 0, so that a mail server can hand over all that comes to MAIL_FROM's address.
    When something here does not allow it (a database that is away, a wrong setting) the exit code is 75, for which mail servers
    keep it and try again later.

    Example: messagebroker email bounce /var/mail/bounces/1732291445.eml
    """
    raw = _content(file)
    try:
        effects = _taken_in(load(role="main"), raw)
    except BrokerError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(TRY_AGAIN) from None
    if as_json:
        typer.echo(json.dumps(effects))
        return
    for message_id, effect in effects.items():
        typer.echo(f"message {message_id}: the delivery {_SAID[effect]}")
    if not effects:
        typer.echo("ignored: it does not tell that an e-mail of this installation was given up")


def _taken_in(settings: Settings, raw: bytes) -> dict[str, bounces.Effect]:
    found = bounces.read(raw, settings)
    if not found:
        return {}
    open_database(settings)
    require_current()
    subscription_failures.setup(settings)
    try:
        return bounces.record(found, this_user())
    finally:
        give_up_connection()


def _content(file: str) -> bytes:
    if file == "-":
        return _beginning(sys.stdin.buffer)
    try:
        with Path(file).open("rb") as stream:
            return _beginning(stream)
    except OSError as error:
        raise NotFound(f"{file} cannot be read: {error.strerror}") from error


def _beginning(stream: BinaryIO) -> bytes:
    """The rest is read too: whoever writes into a pipe does not expect it to close."""
    beginning = stream.read(bounces.LONGEST)
    while stream.read(1024 * 1024):
        continue
    return beginning
