"""`messagebroker up`: the whole system on this machine, set up on the first start."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import typer

from messagebroker.errors import ConfigurationError, Conflict
from messagebroker.ops import embedded, first_start, logs, ports
from messagebroker.ops.family import family
from messagebroker.ops.first_start import ADMIN, DEMO, Made
from messagebroker.ops.private_files import exclusive
from messagebroker.ops.stopping import stop_event
from messagebroker.ops.supervisor import Supervisor
from messagebroker.settings import Settings, load

_WINDOWS = os.name == "nt"


def up() -> None:
    """Start every role here, and Redis and SQLite too unless REDIS_URL and DATABASE_URL name servers.

    The first start makes the data directory (DATA_DIR, by default ./messagebroker-data) with a certificate authority,
    certificates, keys, the database, an admin and a client to try things with. Ctrl-C stops everything.

    Example: messagebroker up
    """
    began = time.monotonic()
    settings = load()
    if settings.environment == "production":
        raise ConfigurationError(
            "`up` runs every role under one account, where the proxy could read the private key; in production run"
            " each role as a service of its own (`messagebroker run ROLE`, see docs/operations.md)"
        )
    ports.require_free(settings)
    first_start.folders(settings)
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(settings.data_dir.absolute() / "up"))
        except Conflict as error:
            raise Conflict(f"another `messagebroker up` runs in {settings.data_dir.absolute()}; stop it first") from error
        _run(first_start.environment_file(settings), began)


def _run(settings: Settings, began: float) -> None:
    stop = stop_event()
    logs.configure(settings, "up", console=False)
    supervisor = Supervisor([], stop, tell=lambda text: typer.echo(text, err=True))
    try:
        if settings.uses_embedded_redis:
            supervisor.children.append(embedded.child(settings))
            supervisor.start()
        first_start.set_up(settings, _say_once)
        supervisor.children.extend(family(settings))
        supervisor.start()
        if not stop.is_set():
            _say_ready(settings, time.monotonic() - began)
            supervisor.watch()
        typer.echo("stopping ...")
    finally:
        killed = supervisor.close()
    typer.echo(f"stopped, but had to kill {', '.join(killed)}" if killed else "stopped")


def _say_once(made: Made) -> None:
    """At once, before anything else can fail: these two are stored nowhere."""
    if made.recovery_key:
        typer.echo(f"recovery key  {made.recovery_key}")
        typer.echo("              keep it away from this machine: it opens the secrets inside backups. It is not shown again.")
    if made.admin_password:
        typer.echo(f"admin         {ADMIN}, one-time password {made.admin_password}")
    sys.stdout.flush()


def _say_ready(settings: Settings, seconds: float) -> None:
    certs = settings.path(settings.certs_dir)
    typer.echo(
        f"""
ready after {seconds:.1f} s; data in {settings.data_dir.absolute()}

  portal      {settings.url_of("portal")}
  submit      {settings.url_of("proxy")}/api/v1/messages   API: {settings.url_of("proxy")}/docs
  core API    {settings.url_of("main")}   API: {settings.url_of("main")}/docs
  metrics     http://{settings.metrics_host}:{settings.metrics_port}/metrics

Send a message, in another terminal:

  {_curl(settings, certs)}

Check the whole way of a message:

  {_smoke(settings, certs)}

Stop with Ctrl-C."""
    )
    sys.stdout.flush()


def _curl(settings: Settings, certs: Path) -> str:
    words = [
        "curl",
        "--cacert",
        str(certs / "ca.crt"),
        "--cert",
        str(certs / f"{DEMO}.crt"),
        "--key",
        str(certs / f"{DEMO}.key"),
    ]
    return _pasted([*words, "--json", '{"body": "hello"}', f"{settings.url_of('proxy')}/api/v1/messages"])


def _smoke(settings: Settings, certs: Path) -> str:
    """Complete, so that it works in any folder and without this terminal's variables."""
    words = ["smoke", "--url", settings.url_of("proxy"), "--cert", str(certs / f"{DEMO}.crt"), "--ca", str(certs / "ca.crt")]
    return _pasted([*_program(), *words])


def _program() -> list[str]:
    """How this program is called in full: it is on nobody's PATH unless its environment is activated."""
    script = Path(sys.executable).parent / ("messagebroker.exe" if _WINDOWS else "messagebroker")
    return [str(script)] if script.exists() else [sys.executable, "-m", "messagebroker"]


def _pasted(words: list[str]) -> str:
    """One line for the system's own command line."""
    return subprocess.list2cmdline(words) if _WINDOWS else shlex.join(words)
