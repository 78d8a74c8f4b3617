"""`messagebroker setup`: makes an installation whose roles have homes of their own, or heals it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from messagebroker.cli import setup_servers
from messagebroker.errors import ConfigurationError
from messagebroker.ops import first_start, homes
from messagebroker.ops.first_start import ADMIN, Made
from messagebroker.ops.handover import Handover
from messagebroker.ops.homes import Change
from messagebroker.ops.private_files import exclusive
from messagebroker.settings import Settings, load

app = typer.Typer(invoke_without_command=True)
app.command()(setup_servers.servers)
app.command()(setup_servers.handover)


@app.callback()
def setup(
    context: typer.Context,
    root: Annotated[
        Path | None,
        typer.Option(help=f"Where the installation is; by default this folder, or {homes.DEFAULT_ROOT}.", file_okay=False),
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="`secrets`: what needs no server; the database and the first admin come in another run.")
    ] = None,
    domain: Annotated[
        list[str] | None, typer.Option(help="A further name or address of the servers, for certificates; may be repeated.")
    ] = None,
    handover: Annotated[
        Path | None, typer.Option(help="A folder for what is shown once, instead of printing it.", file_okay=False)
    ] = None,
    container: Annotated[
        bool, typer.Option("--container", help="Settings come from the environment: leave ROOT/.env alone.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Make or heal an installation: secrets, CA, certificates, schema, first admin, a home for each role. Safe to repeat.

    Secrets that were written into ROOT/.env move to the roles that may have them.

    Example: messagebroker setup --root /var/lib/messagebroker --domain broker.example.org
    """
    if context.invoked_subcommand is not None:
        return
    if only not in (None, "secrets"):
        raise typer.BadParameter("there is `--only secrets`; without it everything is done")
    installation = _Installation(homes.root_of(root), Handover(handover.absolute()) if handover else None, shared=not container)
    try:
        installation.make(domain or [], database=only is None)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename or installation.root}: {error.strerror or error}; run this as root or administrator, or name"
            " another folder with --root"
        ) from error
    finally:  # also when something failed afterwards: what is shown once is stored nowhere
        _say(installation, as_json=as_json)


class _Installation:
    """One run."""

    def __init__(self, root: Path, handover: Handover | None, *, shared: bool) -> None:
        self.root, self.handover, self.shared = root, handover, shared
        self.changes: list[Change] = []
        self.made = Made()
        self.complete = False

    def make(self, domains: list[str], *, database: bool) -> None:
        """Everything, or what needs no server."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o755)
        os.chdir(self.root)  # where every role runs, and reads ROOT/.env
        if self.handover:
            self.handover.require_writable()
        with exclusive(homes.main_home(self.root) / "setup"):
            settings = self._files(domains, database=database)
            if database:
                self._keep(admin_password=first_start.database(self._settings("main")))
                self.changes += homes.hand_out(settings, self.root)
        self.complete = True

    def _files(self, domains: list[str], *, database: bool) -> Settings:
        if self.shared:
            self.changes += homes.shared_settings(self.root)
        settings = self._settings()
        if database:
            self._require_server(settings)
        self._keep(recovery_key=first_start.secret_files(settings))
        first_start.certificate_files(settings, domains)
        self.changes += homes.hand_out(settings, self.root)
        if self.handover:
            self.handover.client(settings)
        return settings

    def _settings(self, role: str | None = None) -> Settings:
        return load(role=role, data_dir=homes.main_home(self.root))

    def _require_server(self, settings: Settings) -> None:
        if settings.database_url is None:
            raise ConfigurationError(
                "DATABASE_URL is missing: roles with homes of their own share a database server; write"
                f" DATABASE_URL=mysql+pymysql://USER:PASSWORD@HOST:3306/message_system into {self.root / '.env'}"
            )

    def _keep(self, **made: str | None) -> None:
        self.made = replace(self.made, **made)
        if self.handover:
            self.handover.keep(self.made)


def _say(installation: _Installation, *, as_json: bool) -> None:
    made = installation.made if installation.handover is None else Made()
    if as_json:
        changes = [{"path": str(change.path), "what": change.what} for change in installation.changes]
        typer.echo(
            json.dumps({"root": str(installation.root), "complete": installation.complete, "changes": changes, **asdict(made)})
        )
        return
    for change in installation.changes:
        typer.echo(str(change))
    if made.admin_password:
        typer.echo(f"admin         {ADMIN}, one-time password {made.admin_password}")
    if made.recovery_key:
        typer.echo(f"recovery key  {made.recovery_key}")
        typer.echo("              keep it away from this machine: it opens the secrets inside backups. It is not shown again.")
    if installation.complete:
        typer.echo(f"the installation in {installation.root} is as it has to be")
