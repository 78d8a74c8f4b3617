"""`messagebroker health`: what Compose, systemd and people ask."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from messagebroker import roles
from messagebroker.ops import health as checks
from messagebroker.ops.health import Health
from messagebroker.settings import Settings, load

ROUND_SECONDS = 0.5


def health(
    role: Annotated[str | None, typer.Argument(help="One role; all of this machine without it.")] = None,
    wait: Annotated[float, typer.Option(help="Seconds until it must be ready.", min=0)] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Ask roles on this machine whether they are ready: alive, and able to reach what they need. Exit code 1: one is not.

    Example: messagebroker health proxy --wait 30
    """
    if role is not None and role not in roles.BY_NAME:
        raise typer.BadParameter(f"{role} is no role; there are {', '.join(roles.NAMES)}")
    found = _asked(load(), (role,) if role else roles.NAMES, time.monotonic() + wait)
    ready = all(answer.ready for answer in found.values())
    if as_json:
        documents = [{"role": name, "ready": answer.ready, "said": answer.said} for name, answer in found.items()]
        typer.echo(json.dumps({"ready": ready, "roles": documents}))
    else:
        for name, answer in found.items():
            typer.echo(f"{'ready    ' if answer.ready else 'NOT READY'}  {name:10} {answer.said}")
    raise typer.Exit(0 if ready else 1)


def _asked(settings: Settings, names: tuple[str, ...], until: float) -> dict[str, Health]:
    found: dict[str, Health] = {}
    while True:
        for name in names:
            if name not in found or not found[name].ready:
                found[name] = checks.check(settings, name)
        if all(answer.ready for answer in found.values()) or time.monotonic() + ROUND_SECONDS >= until:
            return found
        time.sleep(ROUND_SECONDS)
