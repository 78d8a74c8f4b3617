"""`messagebroker cleanup`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from messagebroker.db.connection import open_database
from messagebroker.ops import retention
from messagebroker.ops.stopping import stop_event
from messagebroker.settings import load


def cleanup(
    days: Annotated[int | None, typer.Option(help="Keep this many days; RETENTION_DAYS when not given.", min=1)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Remove messages older than the retention, in small batches. Scheduled, pending and processing ones always stay.

    Example: messagebroker cleanup --days 30 --dry-run
    """
    settings = load(role="main")
    open_database(settings)
    cleaned = retention.cleanup(settings, days, dry_run=dry_run, stop=stop_event())
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, "messages": cleaned.messages, "data_keys": cleaned.data_keys}))
        return
    by_status = ", ".join(f"{number:,} {status}" for status, number in sorted(cleaned.messages.items()))
    would = "would remove" if dry_run else "removed"
    typer.echo(
        f"{would} {cleaned.total:,} messages older than {days or settings.retention_days} days"
        + (f" ({by_status})" * bool(by_status))
    )
    if cleaned.data_keys:
        typer.echo(f"removed {cleaned.data_keys:,} data keys that no message names any more")
