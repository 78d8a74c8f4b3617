"""`messagebroker old PATH …`: an old command of the runbooks, carried out by the new ones."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from messagebroker.errors import ConfigurationError
from messagebroker.ops.homes import DEFAULT_ROOT
from messagebroker.ops.old_names import OLD_NAMES, OldName, find
from messagebroker.ops.services import choosing

RAW = {"allow_interspersed_args": False, "ignore_unknown_options": True, "allow_extra_args": True}
"""Everything after the path is the old command's."""


def old(
    context: typer.Context,
    path: Annotated[str | None, typer.Argument(help="As in the runbooks; without it, all of them are listed.")] = None,
    root: Annotated[Path, typer.Option("--root", help="The installation.")] = DEFAULT_ROOT,
) -> None:
    r"""Do what an old command did, and show the new one. The files at the old paths call this.

    Example: messagebroker old main_server\renew_cert.bat warehouse-7
    """
    if path is None:
        for known in OLD_NAMES:
            typer.echo(f"{known.path:58} messagebroker {known.now}")
        return
    if not root.is_dir():
        raise ConfigurationError(f"there is no folder {root}; --root says where the installation is")
    entry = find(path)
    commands = entry.translate([_found_from_here(word) for word in context.args])
    raise typer.Exit(_carried_out(entry, commands, root))


def _found_from_here(word: str) -> str:
    """A file beside the operator is meant, though the new command runs in ROOT."""
    return str(Path(word).absolute()) if word.lower().endswith(".zip") and Path(word).is_file() else word


def _carried_out(entry: OldName, commands: list[list[str]], root: Path) -> int:
    """The highest exit code."""
    if entry.note:
        typer.echo(entry.note, err=True)
    while True:
        codes = [_run(words, root) for words in commands]
        if not entry.repeat_seconds:
            return max(codes, default=0)
        try:
            time.sleep(entry.repeat_seconds)
        except KeyboardInterrupt:
            return 0


def _run(words: list[str], root: Path) -> int:
    shown = ["***" if before == "--password" else word for before, word in zip(["", *words], words, strict=False)]
    typer.echo(f"# now: messagebroker {' '.join(shown)}", err=True)
    return subprocess.run(_command(words, root), check=False, cwd=root).returncode


def _command(words: list[str], root: Path) -> list[str]:
    """In a folder with a Compose file the containers are meant, but for what is done to them."""
    if not choosing.has_compose_file(root) or words[0] == "services":
        return [sys.executable, "-I", "-m", "messagebroker", *words]
    if words[0] == "health":
        return [sys.executable, "-I", "-m", "messagebroker", "services", "status"]
    if words[:2] == ["backup", "restore"]:  # roles have stopped by then
        return ["docker", "compose", "run", "--rm", "--no-deps", "main", *words]
    terminal = [] if sys.stdin is not None and sys.stdin.isatty() else ["-T"]
    return ["docker", "compose", "exec", *terminal, "main", "messagebroker", *words]
