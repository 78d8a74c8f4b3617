"""`messagebroker doctor`."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from messagebroker.errors import ConfigurationError
from messagebroker.ops import doctor as checks
from messagebroker.ops.findings import Finding, Findings
from messagebroker.settings import load

_MARKS = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "error": "[red]error[/]  "}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors.")] = False,
) -> None:
    """Look at ports, certificates, clocks, disks, Redis and the database; say what is wrong and what to do. Changes nothing.

    The exit code is 1 when there are errors.

    Example: messagebroker doctor --quiet
    """
    found = _findings()
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in found], indent=2))
    else:
        for finding in found:
            if not quiet or finding.level != "ok":
                _print(finding)
        _sum_up(found)
    raise typer.Exit(1 if any(finding.level == "error" for finding in found) else 0)


def _findings() -> list[Finding]:
    try:
        settings = load()
    except ConfigurationError as error:
        return [Findings("settings").error(str(error), "correct these variables, then run doctor again")]
    return list(checks.run(settings))


def _print(finding: Finding) -> None:
    fix = f" — {finding.fix}" if finding.fix else ""
    Console(highlight=False, soft_wrap=True).print(f"{_MARKS[finding.level]} {finding.check}: {escape(finding.text + fix)}")


def _sum_up(found: list[Finding]) -> None:
    errors, warnings = (sum(finding.level == level for finding in found) for level in ("error", "warning"))
    typer.echo(f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}, {len(found) - errors - warnings} good")


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
