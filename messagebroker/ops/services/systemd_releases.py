"""Releases as virtual environments side by side: /opt/messagebroker/releases/NAME, with the links `current` and `previous`."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from messagebroker.errors import BrokerError, Refused
from messagebroker.ops.services.programs import Answer, Programs, Run
from messagebroker.ops.services.systemd import Systemd, require_root
from messagebroker.ops.services.systemd_install import CURRENT, RELEASES
from messagebroker.roles import BY_NAME

INSTALL_SECONDS = 1800.0
SETTLE_SECONDS = 600.0


class SystemdReleases:
    """See `Releases`.

    Args:
        root: the installation.
        manager: restarts roles.
        here: the folder that the operator is in.
        wheels: a folder with all packages, for machines that reach no package index.
        folder: where releases are; for tests.
        current: the link to the one in use; for tests.
        run: runs programs; for tests.
    """

    def __init__(
        self,
        root: Path,
        manager: Systemd,
        here: Path,
        *,
        wheels: Path | None = None,
        folder: Path = RELEASES,
        current: Path = CURRENT,
        run: Run | None = None,
    ) -> None:
        self._root = root
        self._manager = manager
        self._here = here
        self._wheels = wheels
        self._folder = folder
        self._current = current
        self._previous = current.with_name("previous")
        self._run: Run = run or Programs(folder=root)
        self._as_main: Run = run or Programs(
            folder=root,
            environment={
                "PATH": os.environ.get("PATH", os.defpath),
                "LANG": "C.UTF-8",
                "DATA_DIR": str(root / BY_NAME["main"].folder),
            },
            user=BY_NAME["main"].account,
        )

    def in_use(self) -> str:
        """See `Releases`."""
        if not self._current.is_symlink():
            raise Refused(
                f"there is no {self._current}; install a release into {self._folder}/1, link {self._current} to it and run"
                " `messagebroker services install` of that one"
            )
        return self._current.resolve().name

    def previous(self) -> str | None:
        """See `Releases`."""
        name = self._previous.resolve().name
        return name if self._previous.is_symlink() and (self._folder / name).is_dir() else None

    def prepare(self, source: str | None) -> str:
        """See `Releases`. `source` is the project's folder, by default the one that the operator is in."""
        require_root("making a release")
        project = (self._here / (source or ".")).absolute()
        for needed in ("pyproject.toml", "requirements.lock"):
            if not (project / needed).is_file():
                raise Refused(f"{project} has no {needed}; name the folder of the new version's source")
        name = _named(project)
        target = self._folder / name
        try:
            self._install(project, target)
        except BrokerError as error:
            shutil.rmtree(target, ignore_errors=True)
            raise Refused(f"the new release could not be made: {error}") from error
        return name

    def _install(self, project: Path, target: Path) -> None:
        offline = ["--no-index", "--find-links", str(self._here / self._wheels)] if self._wheels else []
        pip = [str(target / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *offline]
        python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
        self._run([str(python), "-m", "venv", str(target)], seconds=SETTLE_SECONDS)
        self._run([*pip, "--require-hashes", "-r", str(project / "requirements.lock")], seconds=INSTALL_SECONDS)
        build = project / "requirements-build.lock"
        if build.is_file():  # hashed too, so that building fetches nothing by itself
            self._run([*pip, "--require-hashes", "-r", str(build)], seconds=INSTALL_SECONDS)
        isolated = ["--no-build-isolation"] if build.is_file() else []
        self._run([*pip, "--no-deps", *isolated, str(project)], seconds=INSTALL_SECONDS)
        self._run([str(target / "bin" / "messagebroker"), "version"])

    def ask(self, release: str, words: Sequence[str], *, seconds: float) -> Answer:
        """See `Releases`."""
        return self._as_main([str(self._program(release)), *words], seconds=seconds, check=False)

    def settle(self, release: str) -> None:
        """See `Releases`. Its own `setup` and `services install` do it, called as of the release that `current` will be."""
        self._run([str(self._program(release)), "setup", "--root", str(self._root)], seconds=SETTLE_SECONDS)
        self._run(
            [str(self._program(release)), "services", "install", "--home", "systemd", "--root", str(self._root)],
            seconds=SETTLE_SECONDS,
        )

    def use(self, release: str, previous: str | None) -> None:
        """See `Releases`. A link is put in place in one step, so that there is always one."""
        _link(self._current, self._folder / release)
        if previous is None:
            self._previous.unlink(missing_ok=True)
        else:
            _link(self._previous, self._folder / previous)

    def tidy(self) -> None:
        """See `Releases`."""
        kept = {self._current.resolve(), self._previous.resolve()}
        for path in self._folder.iterdir():
            if path.is_dir() and not path.is_symlink() and path.resolve() not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def replace(self, role: str, *, seconds: float) -> None:
        """See `Releases`."""
        self._manager.restart(role, seconds=seconds)

    def _program(self, release: str) -> Path:
        return self._folder / release / "bin" / "messagebroker"


def _named(project: Path) -> str:
    """Version and time: the same version may be installed twice."""
    found = re.search(r'^version\s*=\s*"([^"]+)"', (project / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    return f"{found[1] if found else 'unknown'}-{datetime.now(UTC):%Y%m%d%H%M%S}"


def _link(link: Path, target: Path) -> None:
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(os.path.relpath(target, link.parent))
    new.replace(link)
