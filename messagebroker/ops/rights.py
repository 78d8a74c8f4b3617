"""Who may read and write the files of an installation: each role its own home, all of them the logs."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from messagebroker.errors import ConfigurationError
from messagebroker.roles import GROUP, ROLES, Role

PUBLIC = {".crt", ".pub"}


class Rights(Protocol):
    """Gives rights and takes those that are too many; every method returns the paths whose rights it changed."""

    def home(self, folder: Path, role: Role) -> list[Path]:
        """The folder and all in it: for the role alone (and those who administer the machine)."""

    def readable(self, file: Path) -> list[Path]:
        """A file that every role may read and only administrators may write."""

    def logs(self, folder: Path) -> list[Path]:
        """A folder in which every role may make files of its own."""


def of_this_machine() -> Rights:
    """The rights as this system has them."""
    return PosixRights() if os.name == "posix" else WindowsRights()


class PosixRights:
    """Modes, and owners when root hands out: elsewhere one account runs every role (a container, a trial)."""

    def __init__(self, *, owners: bool | None = None) -> None:
        self._owners = os.geteuid() == 0 if owners is None else owners

    def home(self, folder: Path, role: Role) -> list[Path]:
        """0700 and 0600; what is public is 0644."""
        changed = []
        uid, gid = self._account(role.account)
        for path in _tree(folder):
            mode = 0o700 if path.is_dir() else 0o644 if path.suffix in PUBLIC else 0o600
            if _set(path, mode, uid, gid):
                changed.append(path)
        return changed

    def readable(self, file: Path) -> list[Path]:
        """0644."""
        return [file] if _set(file, 0o644, None, None) else []

    def logs(self, folder: Path) -> list[Path]:
        """Whoever is in the group makes files, and only their owner removes them."""
        _, gid = self._group()
        mode = 0o700 if gid is None else 0o1770
        return [folder] if _set(folder, mode, None, gid) else []

    def _account(self, name: str) -> tuple[int | None, int | None]:
        import pwd  # there is none on Windows

        if not self._owners:
            return None, None
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            return None, None  # not made yet: `messagebroker services install` makes it and hands out again
        return found.pw_uid, found.pw_gid

    def _group(self) -> tuple[None, int | None]:
        import grp

        if not self._owners:
            return None, None
        try:
            return None, grp.getgrnam(GROUP).gr_gid
        except KeyError:
            return None, None


def _tree(folder: Path) -> Iterator[Path]:
    yield folder
    for path in sorted(folder.rglob("*")):
        if not path.is_symlink():  # what it points to may be anybody's
            yield path


def _set(path: Path, mode: int, uid: int | None, gid: int | None) -> bool:
    now = path.stat()
    wanted = (now.st_uid if uid is None else uid, now.st_gid if gid is None else gid)
    changed = False
    if (now.st_uid, now.st_gid) != wanted:
        os.chown(path, *wanted)
        changed = True
    if stat.S_IMODE(now.st_mode) != mode:
        path.chmod(mode)
        changed = True
    return changed


SYSTEM, ADMINISTRATORS = "*S-1-5-18", "*S-1-5-32-544"
"""By number: the names are translated in other languages' Windows."""


class WindowsRights:
    """Access lists, through icacls. A service's account is named by its number, which exists before the service does.

    Args:
        account: runs every service (`-ServiceAccount`); None: each has its virtual account.
        run: carries out a command; for tests.
    """

    def __init__(self, account: str | None = None, run: Callable[[Sequence[str]], str] | None = None) -> None:
        self._account = account
        self._run = run or _run

    def home(self, folder: Path, role: Role) -> list[Path]:
        """The role may modify, administrators everything, nobody else anything; children inherit it."""
        return self._given(folder, [f"{self.who(role)}:(OI)(CI)M", *_full("(OI)(CI)")])

    def readable(self, file: Path) -> list[Path]:
        """Every role may read."""
        return self._given(file, [*(f"{who}:R" for who in self._everybody()), *_full("")])

    def logs(self, folder: Path) -> list[Path]:
        """Every role may modify what is in it."""
        return self._given(folder, [*(f"{who}:(OI)(CI)M" for who in self._everybody()), *_full("(OI)(CI)")])

    def who(self, role: Role) -> str:
        """The role's account as icacls takes it."""
        return self._account or "*" + service_sid(role.service)

    def _everybody(self) -> list[str]:
        return list(dict.fromkeys(self.who(role) for role in ROLES))

    def _given(self, path: Path, grants: Sequence[str]) -> list[Path]:
        before = self._run(["icacls.exe", str(path)])
        self._run(["icacls.exe", str(path), "/inheritance:r", "/grant:r", *grants])
        if path.is_dir() and any(path.iterdir()):  # children hold nothing of their own, they inherit
            self._run(["icacls.exe", str(path / "*"), "/reset", "/T", "/C", "/Q"])
        return [path] if self._run(["icacls.exe", str(path)]) != before else []


def _full(inheritance: str) -> list[str]:
    return [f"{SYSTEM}:{inheritance}F", f"{ADMINISTRATORS}:{inheritance}F"]


def service_sid(service: str) -> str:
    """The number of `NT SERVICE\\NAME`: Windows computes it from the name alone (`sc.exe showsid NAME` shows it)."""
    digest = hashlib.sha1(service.upper().encode("utf-16-le"), usedforsecurity=False).digest()
    return "-".join(["S-1-5-80", *map(str, struct.unpack("<5I", digest))])


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, check=False, capture_output=True, timeout=120, encoding="utf-8", errors="replace")
    if done.returncode:
        raise ConfigurationError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()}; run it as administrator")
    return done.stdout
