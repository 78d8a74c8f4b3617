"""`messagebroker windows …`: what `windows\\install.ps1` and `uninstall.ps1` call once Python is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from messagebroker.errors import Refused
from messagebroker.ops import homes, old_files, server_versions, windows_firewall, windows_setup
from messagebroker.ops.services.programs import Programs
from messagebroker.settings import Settings, load

app = typer.Typer(help="A Windows server: install and uninstall the system, and what belongs to neither role nor service.")

Root = Annotated[Path, typer.Option("--root", help="The installation.", file_okay=False)]


@app.command()
def install(
    root: Root = homes.DEFAULT_ROOT,
    domain: Annotated[
        str | None, typer.Option(help="The servers' name for others; on certificates, and PRIMARY_DOMAIN.")
    ] = None,
    account: Annotated[str | None, typer.Option(help="One account for all services instead of one for each.")] = None,
    handover: Annotated[Path | None, typer.Option(help="A folder for what is shown once, instead of showing it.")] = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start the services and send a message.")] = True,
) -> None:
    r"""Take a fresh server to a running system, or heal one. Safe to repeat; what operators wrote stays.

    Needs Python, MySQL and Redis, and refuses versions that are too old. DATABASE_URL is taken from the environment or from
    ROOT\.env, else it is asked for; REDIS_URL or REDIS_PASSWORD likewise, but not asked for.

    Example: messagebroker windows install --domain broker.example.org
    """
    windows_setup.require_python()
    root = root.absolute()
    handover = _outside(root, handover.absolute()) if handover else None
    for line in windows_setup.write_settings(root, windows_setup.defaults(root, domain)):
        typer.echo(line)
    os.chdir(root)
    settings = _with_secrets(root)
    typer.echo(f"servers: {', '.join(server_versions.require(settings))}")
    steps = windows_setup.Steps(_run, typer.echo)
    domains = ["--domain", domain] if domain else []
    once = ["--handover", str(handover)] if handover else []
    steps.take("secrets, certificates, database, homes", "setup", "--root", str(root), *domains, *once)
    accounts = ["--account", account] if account else []
    steps.take("services and file rights", "services", "install", "--home", "windows", "--root", str(root), *accounts)
    for line in windows_firewall.apply(settings, Programs()) + windows_setup.older_tasks():
        typer.echo(line)
    if start:
        steps.take("start", "services", "start", "--home", "windows", "--root", str(root))
        steps.take("a message goes all the way", "smoke")
    typer.echo(f"the system in {root} is installed{' and runs' if start else ''}")


@app.command()
def uninstall(
    root: Root = homes.DEFAULT_ROOT,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove services, firewall rules and the files at old paths. Settings, certificates, messages and backups stay.

    Example: messagebroker windows uninstall
    """
    root = root.absolute()
    if not yes and not typer.confirm(f"Stop and remove the services of {root}?"):
        raise Refused("nothing was changed")
    os.chdir(root)
    steps = windows_setup.Steps(_run, typer.echo)
    steps.take("services", "services", "uninstall", "--yes", "--home", "windows", "--root", str(root))
    settings = load(data_dir=homes.main_home(root))
    for line in windows_firewall.remove(settings, Programs()) + old_files.remove(root):
        typer.echo(line)
    typer.echo(f"kept: {root} with settings, certificates and logs; {settings.path(settings.backup_dir)}; the database; Redis")


def _outside(root: Path, handover: Path) -> Path:
    """Everything in ROOT can be read by the roles' accounts."""
    if handover.is_relative_to(root):
        raise Refused(f"{handover} is inside {root}, where the services may read; name a folder elsewhere")
    return handover


def _with_secrets(root: Path) -> Settings:
    """The settings with DATABASE_URL, from a person where nothing names it; for the commands after this one too."""
    ask = _ask if sys.stdin is not None and sys.stdin.isatty() else None
    os.environ.update(windows_setup.require_secret_settings(load(data_dir=homes.main_home(root)), ask))
    return load(data_dir=homes.main_home(root))


def _ask() -> str:
    typed: str = typer.prompt(
        "DATABASE_URL (mysql+pymysql://systemuser:PASSWORD@localhost:3306/message_system)", hide_input=True
    )
    return typed


def _run(words: list[str]) -> int:
    return subprocess.run([sys.executable, "-I", "-m", "messagebroker", *words], check=False).returncode
