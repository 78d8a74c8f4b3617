"""`messagebroker audit verify | list | export`. Works with main stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from messagebroker.cli.progress import counting
from messagebroker.db.connection import open_database
from messagebroker.db.schema import require_current
from messagebroker.ops import audit_verify, backup
from messagebroker.ops.audit_verify import Report
from messagebroker.settings import Settings, load

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command()
def verify(
    head: Annotated[Path | None, typer.Option("--head", help="A copy of the head file that was kept elsewhere.")] = None,
    from_backup: Annotated[
        str | None, typer.Option("--backup", help="A backup that was kept elsewhere; its head counts too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove that no row of the audit log was changed, removed or inserted, and say up to where that is proven.

    The log is compared with the newest head that is outside the database: in the head file, in the backups of BACKUP_DIR, and
    in what you name. Keep a copy of either on another machine: who can change all of them can cut off the end of the log.

    Example: messagebroker audit verify --head /mnt/elsewhere/audit-head.jsonl
    """
    settings = _opened()
    named = None if from_backup is None else backup.find(settings, from_backup)
    with counting("checking", quiet=as_json) as progress:
        report = audit_verify.verify(settings, head_file=head, from_backup=named, progress=progress)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        _tell(report)
    if not report.good:
        raise typer.Exit(1)


def _tell(report: Report) -> None:
    for finding in report.findings:
        around = [
            f"{word} {moment:%Y-%m-%d %H:%M:%S}"
            for word, moment in (("after", finding.after), ("before", finding.before))
            if moment
        ]
        typer.echo(f"{finding.kind:14} {finding.what}" + (f" ({', '.join(around)} UTC)" if around else ""))
    if report.findings_total > len(report.findings):
        typer.echo(f"               and {report.findings_total - len(report.findings):,} more")
    if report.proven is not None:
        proven = report.proven
        typer.echo(
            f"proven         {proven.rows:,} rows, {proven.first_row} to {proven.last_row}, {proven.since:%Y-%m-%d %H:%M:%S} to"
            f" {proven.until:%Y-%m-%d %H:%M:%S} UTC, by {proven.head}" + (", but for the above" if report.findings else "")
        )
    if report.unproven:
        typer.echo(
            f"not proven yet {report.unproven:,} rows were sealed after that head; nothing would tell if they were cut off"
        )
    for note in report.notes:
        typer.echo(f"note           {note}")
    typer.echo("good" if report.good else f"NOT GOOD: {report.findings_total:,} findings")


def _opened() -> Settings:
    settings = load(role="main")
    open_database(settings)
    require_current()
    return settings
