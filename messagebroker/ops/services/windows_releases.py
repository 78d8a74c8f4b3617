"""Releases as virtual environments side by side: ROOT\\releases\\NAME, with the names of two of them in text files."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PureWindowsPath

from messagebroker.errors import BrokerError, Refused
from messagebroker.ops.homes import main_home
from messagebroker.ops.services.manager import Manager
from messagebroker.ops.services.order import dependents_of, stop_order
from messagebroker.ops.services.plan import PLAN_OF
from messagebroker.ops.services.programs import Answer, Programs, Run
from messagebroker.ops.services.windows_control import Control, ServiceControl
from messagebroker.ops.services.windows_units import words as words_of

FOLDER = "releases"
INSTALL_SECONDS = 1800.0
SETTLE_SECONDS = 600.0


class WindowsReleases:
    """See `Releases`. Windows has no links that everybody may make, so text files say which release is which.

    Args:
        root: the installation.
        manager: stops and starts roles.
        here: the folder that the operator is in.
        wheels: a folder with all packages, for machines that reach no package index.
        control: the service manager; for tests.
        run: runs programs; for tests.
        python: the interpreter that environments are made with; for tests.
    """

    def __init__(
        self,
        root: Path,
        manager: Manager,
        here: Path,
        *,
        wheels: Path | None = None,
        control: Control | None = None,
        run: Run | None = None,
        python: Path | None = None,
    ) -> None:
        self._root = root
        self._manager = manager
        self._control: Control = control or ServiceControl()
        self._here = here
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str((here / wheels).absolute())} if wheels else {}
        self._run: Run = run or Programs(folder=root, environment={**os.environ, **offline, "DATA_DIR": str(main_home(root))})
        self._python = python or Path(sys.base_prefix) / "python.exe"
        self._folder = root / FOLDER

    def in_use(self) -> str:
        """See `Releases`."""
        name = self._noted("current") or self._started_from()
        if name is None:
            raise Refused(
                rf"no release is in use; `windows\install.ps1` makes {self._folder} and the services, or"
                " `messagebroker services install` of a release that is there"
            )
        return name

    def previous(self) -> str | None:
        """See `Releases`."""
        name = self._noted("previous")
        return name if name and self.python_of(name).is_file() else None

    def prepare(self, source: str | None) -> str:
        """See `Releases`. `source` is the project's folder, by default this one."""
        project = (self._here / (source or ".")).absolute()
        for needed in ("pyproject.toml", "requirements.lock", "bootstrap.py"):
            if not (project / needed).is_file():
                raise Refused(f"{project} has no {needed}; name the folder of the new version's source")
        name = named(project)
        try:
            command = [str(self._python), str(project / "bootstrap.py"), "release", str(self._folder / name)]
            self._run(command, seconds=INSTALL_SECONDS)
            self._run([str(self.python_of(name)), "-I", "-m", "messagebroker", "version"])
        except BrokerError as error:
            shutil.rmtree(self._folder / name, ignore_errors=True)
            raise Refused(f"the new release could not be made: {error}") from error
        return name

    def ask(self, release: str, words: Sequence[str], *, seconds: float) -> Answer:
        """See `Releases`."""
        return self._run([str(self.python_of(release)), "-I", "-m", "messagebroker", *words], seconds=seconds, check=False)

    def settle(self, release: str) -> None:
        """See `Releases`. Services that run go on with what they were started from."""
        for words in (["setup"], ["services", "install", "--home", "windows"]):
            command = [str(self.python_of(release)), "-I", "-m", "messagebroker", *words, "--root", str(self._root)]
            self._run(command, seconds=SETTLE_SECONDS)

    def use(self, release: str, previous: str | None) -> None:
        """See `Releases`."""
        self._note("current", release)
        self._note("previous", previous or "")

    def tidy(self) -> None:
        """See `Releases`. What still runs cannot be removed here: it goes the next time."""
        kept = {self.in_use(), self.previous()}
        for path in self._folder.iterdir():
            if path.is_dir() and path.name not in kept and not Path(sys.prefix).is_relative_to(path):
                shutil.rmtree(path, ignore_errors=True)

    def replace(self, role: str, *, seconds: float) -> None:
        """See `Releases`. Windows stops nothing that others need: they stop first, and start when their turn comes."""
        for name in stop_order({role, *dependents_of(role)}):
            self._manager.stop(name, seconds=PLAN_OF[name].stop_seconds)
        self._manager.start(role)

    def python_of(self, release: str) -> Path:
        """A release's interpreter."""
        return self._folder / release / "Scripts" / "python.exe"

    def _noted(self, what: str) -> str | None:
        try:
            return (self._folder / f"{what}.txt").read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None

    def _note(self, what: str, release: str) -> None:
        draft = self._folder / f".{what}.txt"
        draft.write_text(f"{release}\n", encoding="utf-8")
        draft.replace(self._folder / f"{what}.txt")

    def _started_from(self) -> str | None:
        """The release that main's service names."""
        found = self._control.find(PLAN_OF["main"].name)
        if found is None:
            return None
        program = PureWindowsPath(words_of(found.image)[0])
        parts = program.parts
        return parts[-3] if len(parts) > 3 and parts[-4].lower() == FOLDER else None


def named(project: Path) -> str:
    """Version and time: the same version may be installed twice."""
    found = re.search(r'^version\s*=\s*"([^"]+)"', (project / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    return f"{found[1] if found else 'unknown'}-{datetime.now(UTC):%Y%m%d%H%M%S}"
