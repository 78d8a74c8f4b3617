"""`messagebroker backup create | list | verify | restore`. Works with main stopped."""

from __future__ import annotations

import getpass
import json
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from messagebroker.cli.actor import this_user
from messagebroker.cli.progress import shown, size
from messagebroker.db.connection import open_database
from messagebroker.errors import BrokerError, NotFound, Refused
from messagebroker.ops import audit, backup
from messagebroker.ops.restore import Plan, Restore, Restored
from messagebroker.settings import Settings, load

app = typer.Typer()

Name = Annotated[str, typer.Argument(help="A file in BACKUP_DIR, or a path.")]
_NAME_WIDTH = len("before_restore_YYYYMMDD_HHMMSS.zip")

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command()
def create(as_json: AsJson = False) -> None:
    """Back up the database, the configuration, the CA and all certificates and keys, while everything runs.

    Secrets inside are sealed to the recovery key. The backup is read back and checked before it gets its name.

    Example: messagebroker backup create
    """
    settings = _opened()
    with shown() as progress:
        path = backup.create(settings, progress)
    manifest, bytes_ = backup.verify(path), path.stat().st_size
    audit.record(this_user().name, "backup.create", "backup", path.name, details={"bytes": bytes_})
    if as_json:
        typer.echo(json.dumps({"path": str(path), "bytes": bytes_, "rows": manifest.rows}))
    else:
        typer.echo(f"{path}\n{size(bytes_)}, {manifest.rows.get('messages', 0):,} messages, sealed to {manifest.recovery_key}")


@app.command("list")
def list_backups(as_json: AsJson = False) -> None:
    """List the backups in BACKUP_DIR, the newest first.

    Example: messagebroker backup list
    """
    found = backup.list_all(load())
    if as_json:
        typer.echo(msgspec.json.encode([_described(one) for one in found]).decode())
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("backup", "made (UTC)", "size", "messages"):
        table.add_column(heading, no_wrap=True, min_width=0 if heading != "backup" else _NAME_WIDTH)
    table.add_column("of")
    for one in found:
        if one.manifest is None:
            table.add_row(one.path.name, "", size(one.size), "", f"[red]{escape(one.problem or '')}[/]")
        else:
            made = f"{one.manifest.created_at:%Y-%m-%d %H:%M:%S}"
            table.add_row(one.path.name, made, size(one.size), f"{one.messages:,}", one.manifest.server)
    Console().print(table if found else "no backups yet; `messagebroker backup create` makes one")


@app.command()
def verify(name: Name) -> None:
    """Read a whole backup and compare every byte with its checksums.

    Example: messagebroker backup verify backup_20300131_020000.zip
    """
    with shown() as progress:
        manifest = backup.verify(backup.find(load(), name), progress)
    typer.echo(f"good: {len(manifest.members)} files, {sum(manifest.rows.values()):,} rows, from {manifest.server}")


@app.command()
def restore(
    name: Name,
    recovery_key_file: Annotated[
        Path | None, typer.Option(help="A file with the recovery key; else it is asked for ('-': from standard input).")
    ] = None,
    database_only: Annotated[
        bool, typer.Option("--database-only", help="No files: keys and certificates stay as they are, and no key is needed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even while roles run, and without a copy of the database.")] = False,
) -> None:
    """Bring a backup back into the database and the folders of this installation. Stop all roles first.

    Everything is checked before anything is touched; what is replaced is kept. Certificates that were revoked since
    the backup stay revoked. With --database-only proxies and the portal may go on.

    Example: messagebroker backup restore backup_20300131_020000.zip
    """
    settings = _opened()
    path = backup.find(settings, name)
    if not path.exists():
        raise NotFound(f"there is no backup {path}; `messagebroker backup list` shows those that exist")
    key = None if database_only else _recovery_key(recovery_key_file)
    with shown() as progress:
        work = Restore(settings, path, key, progress)
    with work:
        if not force:
            work.refuse_running()
        _preview(work.plan)
        if not yes and not typer.confirm("Restore?"):
            raise Refused("nothing was changed")
        with shown() as progress:
            done = work.carry_out(this_user().name, progress, force=force)
    _tell(done)


def _preview(plan: Plan) -> None:
    say = typer.echo
    say(f"backup    {plan.path.name} of {plan.manifest.created_at:%Y-%m-%d %H:%M:%S} UTC, made on {plan.manifest.host}")
    say(f"database  {sum(plan.manifest.rows.values()):,} rows replace {sum(plan.rows_now.values()):,}")
    for table in sorted({*plan.manifest.rows, *plan.rows_now}):
        now, then = plan.rows_now.get(table), plan.manifest.rows.get(table)
        if now != then:
            say(f"          {table}: {_number(now)} now, {_number(then)} in the backup")
    if plan.replaces_ca:
        say("CA        the one of the backup replaces another one that is here: its certificates stop working")
    for change in plan.files:
        say(f"file      {change.action:8} {change.path}")
    for role in plan.running:
        say(f"running   {role}")


def _tell(done: Restored) -> None:
    typer.echo(f"restored  {sum(done.rows.values()):,} rows, {done.rows.get('messages', 0):,} of them messages")
    if done.database_aside:
        typer.echo(f"kept      the database as it was: {done.database_aside}")
    if done.files_aside:
        typer.echo(f"kept      the files as they were: {done.files_aside}")
    for note in done.notes:
        typer.echo(f"note      {note}")
    typer.echo("next      start the roles, then `messagebroker smoke`")


def _number(value: int | None) -> str:
    return "no such table" if value is None else f"{value:,}"


def _recovery_key(file: Path | None) -> str:
    if file is None:
        return getpass.getpass("recovery key: ") if sys.stdin.isatty() else sys.stdin.readline()
    if str(file) == "-":
        return sys.stdin.readline()
    try:
        return file.read_text(encoding="utf-8")
    except PermissionError as error:  # root's command acts as main's account, and the key is kept away from that
        raise BrokerError(
            f"the account that this command acts as may not read {file}; use `--recovery-key-file - < {file}` instead"
        ) from error
    except OSError as error:
        raise BrokerError(f"cannot read the recovery key from {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BrokerError(f"cannot read the recovery key from {file}: it is no text") from error


def _described(one: backup.Listed) -> dict[str, object]:
    manifest = one.manifest
    return {
        "name": one.path.name,
        "path": str(one.path),
        "bytes": one.size,
        "problem": one.problem,
        **({"created_at": manifest.created_at, "rows": manifest.rows, "server": manifest.server} if manifest else {}),
    }


def _opened() -> Settings:
    settings = load(role="main")
    open_database(settings)
    return settings
