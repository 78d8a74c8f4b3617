"""`messagebroker version`."""

from __future__ import annotations

from importlib.metadata import version as installed

import typer


def version() -> None:
    """Print the program's version."""
    typer.echo(f"messagebroker {installed('messagebroker')}")
