"""What the commands about subscriptions and webhooks share."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated

import typer

from messagebroker.cli.printing import as_text, document
from messagebroker.db.connection import open_database
from messagebroker.db.schema import require_current
from messagebroker.ops import subscription_pages
from messagebroker.ops.subscriptions import Details
from messagebroker.settings import Settings, load

_PAGE = 200

Number = Annotated[int, typer.Argument(help="The subscription's number, as `list` shows it.", min=1)]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
Since = Annotated[datetime, typer.Option("--since", help="Messages that were accepted from then on, UTC.")]
Until = Annotated[datetime | None, typer.Option("--until", help="And before then, UTC; without: now.")]
Rate = Annotated[int, typer.Option("--rate", help="Messages a second.", min=1, max=1000)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def connect() -> Settings:
    """Opens the database that the settings name, whose schema must be this program's."""
    settings = load(role="main")
    open_database(settings)
    require_current()
    return settings


def everything(channel: str | None, owner: str | None = None) -> list[Details]:
    """All pages of a list."""
    found: list[Details] = []
    after = None
    while page := subscription_pages.page(limit=_PAGE, after=after, channel=channel, owner=owner):
        found += page
        after = page[-1].id
    return found


def list_them(found: list[Details], *, as_json: bool) -> None:
    """One line each."""
    if as_json:
        typer.echo(json.dumps([document(one) for one in found]))
        return
    for one in found:
        failing = f"{one.failures} failures since {as_text(one.failing_since)}" if one.failures else "ok"
        state = f"disabled: {one.disabled_why or ''}" if one.disabled_at else failing
        typer.echo(f"{one.id:6} {one.name:30} {one.channel:8} {', '.join(one.topics):40} {state}")
