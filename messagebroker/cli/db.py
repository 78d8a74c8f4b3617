"""`messagebroker db upgrade | status`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from messagebroker.db import schema
from messagebroker.db.connection import NoDatabase, open_database
from messagebroker.errors import BrokerError, NotFound
from messagebroker.ops import certificates
from messagebroker.settings import load

app = typer.Typer()


@app.command()
def upgrade() -> None:
    """Bring the database to this program's schema; safe to repeat, and to run twice at once.

    Example: messagebroker db upgrade
    """
    settings = load(role="main")
    open_database(settings)
    before = schema.status()
    after = schema.upgrade()
    new = [name for name in after.applied if name not in before.applied]
    typer.echo(f"applied {', '.join(new)}" if new else "the database is current")
    certificates.register_issued(settings)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Compare the database's schema with this program's; exit code 1 when they differ.

    Example: messagebroker db status
    """
    open_database(load(role="main"))
    found = schema.status()
    if found.absent and not as_json:
        raise NotFound(str(NoDatabase(found.absent)))
    if as_json:
        typer.echo(json.dumps({"applied": found.applied, "missing": found.missing, "unknown": found.unknown}))
    else:
        for word, names in (("applied", found.applied), ("missing", found.missing), ("unknown", found.unknown)):
            for name in names:
                typer.echo(f"{word:8} {name}")
    if found.missing and not as_json:
        raise BrokerError("the database is behind this program; run `messagebroker db upgrade`")
    if found.unknown and not as_json:
        raise BrokerError("the database is ahead of this program; install the newer version")
    raise typer.Exit(0 if found.is_current else 1)
