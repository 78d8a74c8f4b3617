"""A real MySQL server, on machines that have the program `mysql-server` (tests/support/machine.py)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, Self

import psutil
import pymysql
from support.machine import require_tool
from support.servers import SqlServer


class MySQL(SqlServer):
    """MySQL as its makers configure it, with room for the tests' connections; not a child of the tests' process."""

    def __init__(self, *options: str) -> None:
        self.program = require_tool("mysql-server")
        super().__init__()
        self.options = options
        self.owner: psutil.Process | None = None

    def start(self) -> Self:
        self._tell("start", f"--port={self.port}", MYSQL_OPTIONS=" ".join(("--max-connections=200", *self.options)))
        self.owner = psutil.Process(int((self.folder / "mysqld.pid").read_text(encoding="ascii")))
        return self

    def stop(self) -> None:
        if self.owner:
            self._tell("stop")
            self.owner = None

    def kill(self) -> None:
        assert self.owner
        self.owner.kill()
        self.owner.wait(20)
        self.owner = None

    def pause(self) -> None:
        assert self.owner
        self.owner.suspend()

    def resume(self) -> None:
        assert self.owner
        self.owner.resume()

    def connect_as_root(self) -> pymysql.Connection[Any]:
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", autocommit=True)

    def _tell(self, verb: str, *words: str, **environment: str) -> None:
        _run(self.program, verb, f"--datadir={self.folder}", *words, **environment)


def client_programs(folder: Path) -> None:
    """MySQL's own `mysql` and `mysqldump` in a folder; they read option files, as those of a package do."""
    folder.mkdir()
    there = Path(_run(require_tool("mysql-server"), "setup").rpartition("ready: ")[2].strip())
    for name in ("mysql", "mysqldump"):
        start, _, options = (there / name).read_text(encoding="utf-8").partition(" --no-defaults ")
        path = folder / name
        path.write_text(f'{start} "$@" {options.replace(chr(34) + "$@" + chr(34), "")}', encoding="utf-8")
        path.chmod(0o755)


def _run(program: Path, verb: str, *words: str, **environment: str) -> str:
    said = subprocess.run(
        [str(program), verb, *words],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,  # the first one on a machine fetches MySQL
    )
    if said.returncode != 0:
        raise RuntimeError(f"`mysql-server {verb}` ended with {said.returncode}:\n{said.stderr[-2000:]}")
    return said.stderr
