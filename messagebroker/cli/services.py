"""`messagebroker services …`: the same verbs for Windows services, systemd and Compose."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from messagebroker.errors import Refused
from messagebroker.ops import homes
from messagebroker.ops.services import choosing
from messagebroker.ops.services.manager import Manager, State
from messagebroker.ops.services.order import start_order
from messagebroker.ops.services.upgrade import Upgrade
from messagebroker.ops.services.verbs import Verbs
from messagebroker.roles import NAMES

app = typer.Typer(help="The roles as services of this machine.")

RoleName = Annotated[
    str | None, typer.Argument(help=f"One of {', '.join(NAMES)}; all of them when left out.", metavar="[ROLE]")
]
WithDependencies = Annotated[
    bool, typer.Option("--with-dependencies", help="Also those that ROLE needs (start) or that need ROLE (stop, restart).")
]
Force = Annotated[bool, typer.Option("--force", help="Do not refuse and do not stop halfway.")]
HomeName = Annotated[str | None, typer.Option("--home", help=f"{', '.join(choosing.HOMES)}; by default the one in use here.")]
Root = Annotated[Path | None, typer.Option("--root", help="The installation; by default this folder, or the usual place.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]

_WIDTH = 130  # a narrower terminal breaks the lines itself, and all names stay whole
_COLOURS = {"running": "green", "starting": "yellow", "stopping": "yellow", "failed": "red"}


@app.command()
def start(
    role: RoleName = None,
    with_dependencies: WithDependencies = False,
    force: Force = False,
    home: HomeName = None,
    root: Root = None,
) -> None:
    """Start all roles, or one, each when those it needs are ready. What runs already is left alone.

    With --force what comes after a role that does not become ready is started too, and ROLE even without what it needs.

    Example: messagebroker services start proxy --with-dependencies
    """
    _verbs(home, root).start(_known(role), with_dependencies=with_dependencies, force=force)


@app.command()
def stop(
    role: RoleName = None,
    with_dependencies: WithDependencies = False,
    force: Force = False,
    home: HomeName = None,
    root: Root = None,
) -> None:
    """Stop all roles, or one, in the reverse order of their start. Each finishes what it has in hand, within its stop timeout.

    With --force ROLE is stopped although others need it, and what does not stop in time is ended everywhere.

    Example: messagebroker services stop main --with-dependencies
    """
    _verbs(home, root).stop(_known(role), with_dependencies=with_dependencies, force=force)


@app.command()
def restart(
    role: RoleName = None,
    with_dependencies: WithDependencies = False,
    force: Force = False,
    home: HomeName = None,
    root: Root = None,
) -> None:
    """Restart all roles, or one. One after another where the system allows it, so that the others go on meanwhile.

    Example: messagebroker services restart worker
    """
    _verbs(home, root).restart(_known(role), with_dependencies=with_dependencies, force=force)


@app.command()
def status(role: RoleName = None, home: HomeName = None, root: Root = None, as_json: AsJson = False) -> None:
    """Show the state of each role, whether it starts with the machine, since when, automatic restarts, and if it is ready.

    The exit code is 1 when one of them does not run or is not ready.

    Example: messagebroker services status --json
    """
    manager = _manager(home, root)
    states = Verbs(manager).status(_known(role))
    if as_json:
        typer.echo(json.dumps({"home": manager.home, "services": [_described(state) for state in states]}, indent=2))
    else:
        _show(states)
    raise typer.Exit(0 if all(state.state == "running" and state.detail == "ready" for state in states) else 1)


@app.command()
def install(
    account: Annotated[
        str | None, typer.Option("--account", help="Windows: one account for all services instead of one for each.")
    ] = None,
    home: HomeName = None,
    root: Root = None,
) -> None:
    """Make the services of this machine, with an account and its rights for each; safe to repeat, heals what is wrong.

    Example: messagebroker services install
    """
    for change in (changes := _manager(home, root).install(account=account)):
        typer.echo(change)
    typer.echo("`messagebroker services start` starts them" if changes else "everything is as it has to be")


@app.command()
def uninstall(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False, home: HomeName = None, root: Root = None
) -> None:
    """Stop and remove the services. Settings, certificates, messages and backups stay.

    Example: messagebroker services uninstall --yes
    """
    manager = _manager(home, root)
    present = [state for state in manager.states() if state.state != "missing"]
    for state in present:
        typer.echo(f"{state.unit} ({state.state})")
    if present and not yes and not typer.confirm("Stop and remove these?"):
        raise Refused("nothing was changed")
    for change in (changes := manager.uninstall()):
        typer.echo(change)
    if not changes:
        typer.echo("there was nothing to remove")


@app.command()
def upgrade(
    source: Annotated[
        str | None,
        typer.Argument(
            help="systemd, Windows: the folder of the new source (this one). Compose: an image (its own, built or pulled)."
        ),
    ] = None,
    wheels: Annotated[
        Path | None,
        typer.Option(help="systemd, Windows: a folder with all packages, where there is no package index.", file_okay=False),
    ] = None,
    home: HomeName = None,
    root: Root = None,
) -> None:
    """Change to a new release, one role after another; go back by itself when a role or the smoke test fails.

    The release before is kept. When the database gets a new schema, a backup is made first, and the roles that use it stop
    meanwhile.

    Example: messagebroker services upgrade /usr/local/src/messagebroker-0.2
    """
    _upgrade(home, root, wheels).upgrade(source)


@app.command()
def rollback(
    restore: Annotated[
        str | None,
        typer.Option(metavar="BACKUP", help="After a new schema: bring back the database as the upgrade found it."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --restore.")] = False,
    home: HomeName = None,
    root: Root = None,
) -> None:
    """Go back to the release before, one role after another. Doing it twice goes forward again.

    Example: messagebroker services rollback --restore backup_20300131_020000.zip
    """
    if restore is not None and not yes:
        typer.echo(f"What was stored since {restore} was made leaves the database; a copy of it as it is now is kept beside.")
        if not typer.confirm("Go back?"):
            raise Refused("nothing was changed")
    _upgrade(home, root).rollback(restore)


def _upgrade(home: str | None, root: Path | None, wheels: Path | None = None) -> Upgrade:
    here, where = Path.cwd(), homes.root_of(root)
    manager = _manager(home, root)  # the installation's folder is the current one from here on
    return Upgrade(manager, choosing.releases_of(manager, where, here, wheels), tell=_tell)


def _tell(text: str) -> None:
    """At once: an upgrade takes minutes."""
    typer.echo(text)
    sys.stdout.flush()


def _manager(home: str | None, root: Path | None) -> Manager:
    where = homes.root_of(root)
    manager = choosing.manager_of(home, where)
    if where.is_dir() and manager.home != "Docker Compose":
        os.chdir(where)  # where the settings of an installation are found
    return manager


def _verbs(home: str | None, root: Path | None) -> Verbs:
    return Verbs(_manager(home, root), tell=_tell)


def _known(role: str | None) -> str | None:
    if role is not None and role not in NAMES:
        raise typer.BadParameter(f"{role} is no role; there are {', '.join(start_order())}")
    return role


def _described(state: State) -> dict[str, object]:
    return dataclasses.asdict(state) | {"since": state.since.isoformat() if state.since else None}


def _show(states: list[State]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("role", "unit", "state", "start type", "since (UTC)"):
        table.add_column(heading, no_wrap=True)
    table.add_column("restarts", no_wrap=True, justify="right")
    table.add_column("", overflow="fold")
    for state in states:
        colour = _COLOURS.get(state.state, "default")
        table.add_row(
            state.role,
            state.unit,
            f"[{colour}]{state.state}[/]",
            state.start_type,
            f"{state.since:%Y-%m-%d %H:%M:%S}" if state.since else "",
            "" if state.restarts is None else str(state.restarts),
            state.detail,
        )
    Console(width=max(Console().width, _WIDTH)).print(table)
