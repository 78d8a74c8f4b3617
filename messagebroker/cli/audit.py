"""`messagebroker audit verify | accept | list | export`. Works with main stopped."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from messagebroker.cli.actor import this_user
from messagebroker.cli.progress import counting, size
from messagebroker.db.connection import open_database
from messagebroker.db.schema import require_current
from messagebroker.errors import BrokerError, Refused
from messagebroker.ops import audit, audit_export, audit_verify, backup
from messagebroker.ops.audit_verify import Report
from messagebroker.settings import Settings, load

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]
Actor = Annotated[str | None, typer.Option("--actor", help="As the log names them: user:EMAIL, cli:NAME, component:ROLE.")]
Action = Annotated[str | None, typer.Option("--action", help="As the log names it: message.open, user.login, …")]
Object = Annotated[str | None, typer.Option("--object", help="TYPE:ID, such as user:ada@example.org.")]
Since = Annotated[datetime | None, typer.Option("--since", formats=_TIMES, help="At or after this time, UTC.")]
Until = Annotated[datetime | None, typer.Option("--until", formats=_TIMES, help="Before this time, UTC.")]


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


@app.command()
def accept(
    reason: Annotated[str, typer.Option("--reason", help="What happened, and who looked into it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Have the log go on from where it ends now, after its end was found missing and you know why.

    For a database that was brought back by other means than `messagebroker backup restore`. It is written into the head file
    and the log. Rows that were changed, removed or inserted stay findings.

    Example: messagebroker audit accept --reason "the provider restored its snapshot of Sunday, ticket 4711"
    """
    settings = _opened()
    if not yes and not typer.confirm("Nobody can prove from then on what was in the rows that are gone. Accept?"):
        raise Refused("nothing was changed")
    moved = audit_verify.accept(settings, this_user(), reason)
    typer.echo(
        "accepted" + (f"; the head file, which was changed or of another installation, is kept as {moved}" if moved else "")
    )


@app.command("list")
def list_rows(
    actor: Actor = None,
    action: Action = None,
    object_: Object = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show the newest rows, of one actor, one action or one object.

    Example: messagebroker audit list --actor user:ada@example.org --since 2030-01-31
    """
    _opened()
    found = audit.page(limit=limit, filters=_filters(actor, action, object_, since, until))
    if as_json:
        typer.echo(msgspec.json.encode({"items": found}).decode())
        return
    for row in found:
        details = "" if row.details is None else msgspec.json.encode(row.details).decode()
        who, what = _shown(row.actor), _shown(f"{row.object_type}:{row.object_id}")
        when = f"{row.created_at:%Y-%m-%d %H:%M:%S}"
        typer.echo(f"{when} {who:30} {row.action:24} {what:44} {row.address or '-':15} {_shown(details)}")


@app.command()
def export(
    output: Annotated[Path, typer.Option("--output", help="The file to write; '-': standard output.")],
    form: Annotated[audit_export.Format, typer.Option("--format", help="csv for spreadsheets, jsonl for programs.")] = "csv",
    actor: Actor = None,
    action: Action = None,
    object_: Object = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Write the log into a file, oldest row first. That it was done is a row too.

    Example: messagebroker audit export --output audit.csv --since 2030-01-01 --until 2030-02-01
    """
    _opened()
    pieces = audit_export.export(_filters(actor, action, object_, since, until), form, this_user())
    if str(output) == "-":
        for piece in pieces:
            typer.echo(piece, nl=False)
        return
    try:
        with os.fdopen(
            os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600), "wb"
        ) as file:
            for piece in pieces:
                file.write(piece)
    except OSError as error:
        raise BrokerError(f"{output} cannot be written: {error.strerror}") from error
    typer.echo(f"{output}, {size(output.stat().st_size)}")


def _filters(
    actor: str | None, action: str | None, object_: str | None, since: datetime | None, until: datetime | None
) -> audit.Filters:
    kind, colon, name = (object_ or "").partition(":")
    if object_ is not None and not (kind and colon and name):
        raise typer.BadParameter("--object is TYPE:ID, such as user:ada@example.org or message:0190f3c2-…")
    return audit.Filters(
        actor=actor,
        action=action,
        object_type=kind or None,
        object_id=name or None,
        since=since and since.replace(tzinfo=UTC),
        until=until and until.replace(tzinfo=UTC),
    )


def _shown(text: str) -> str:
    """Strangers write some of it: a terminal must not obey it."""
    return "".join(character if character.isprintable() else "?" for character in text)


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
