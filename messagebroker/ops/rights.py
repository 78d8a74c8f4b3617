"""Who may read and write the files of an installation: each role its own home, all of them the logs."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from messagebroker.errors import ConfigurationError
from messagebroker.roles import GROUP, ROLES, Role

PUBLIC = {".crt", ".pub"}


class Rights(Protocol):
    """Gives rights and takes those that are too many; every method returns the paths whose rights it changed."""

    def root(self, folder: Path) -> list[Path]:
        """The installation's folder and the files in it that have no rights of their own: every role may read."""

    def home(self, folder: Path, role: Role) -> list[Path]:
        """The folder and all in it: for the role alone (and those who administer the machine)."""

    def logs(self, folder: Path) -> list[Path]:
        """A folder in which every role may make files of its own."""


def of_this_machine() -> Rights:
    """The rights as this system has them."""
    return PosixRights() if os.name == "posix" else WindowsRights()


class PosixRights:
    """Modes, and owners when root hands out: elsewhere one account runs every role (a container, a trial)."""

    def __init__(self, *, owners: bool | None = None) -> None:
        self._owners = os.geteuid() == 0 if owners is None else owners

    def root(self, folder: Path) -> list[Path]:
        """0755, and 0644 for .env; of no interest where one account runs every role."""
        if not self._owners:
            return []
        changed = [folder] if _set_path(folder, 0o755) else []
        shared = folder / ".env"
        return [*changed, shared] if shared.exists() and _set_path(shared, 0o644) else changed

    def home(self, folder: Path, role: Role) -> list[Path]:
        """0700 and 0600; what is public is 0644.

        The role may write there, so that it could put links in our way: each file is opened without following one.
        """
        uid, gid = self._account(role.account)
        changed = []
        for place, _, files, descriptor in os.fwalk(folder):
            if _set(descriptor, 0o700, uid, gid):
                changed.append(Path(place))
            for name in files:
                mode = 0o644 if Path(name).suffix in PUBLIC else 0o600
                if _set_file(name, descriptor, mode, uid, gid):
                    changed.append(Path(place) / name)
        return sorted(changed)

    def logs(self, folder: Path) -> list[Path]:
        """Whoever is in the group makes files, and only their owner removes them."""
        gid = self._group()
        return [folder] if _set_path(folder, 0o700 if gid is None else 0o1770, gid) else []

    def _account(self, name: str) -> tuple[int | None, int | None]:
        import pwd  # there is none on Windows

        try:
            found = pwd.getpwnam(name) if self._owners else None
        except KeyError:  # not made yet: `messagebroker services install` makes it, and hands out again
            found = None
        return (found.pw_uid, found.pw_gid) if found else (None, None)

    def _group(self) -> int | None:
        import grp

        try:
            return grp.getgrnam(GROUP).gr_gid if self._owners else None
        except KeyError:
            return None


def _set_file(name: str, folder: int, mode: int, uid: int | None, gid: int | None) -> bool:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENOENT):  # a link, a socket, just removed
            return False
        raise
    try:
        now = os.fstat(descriptor)
        if not stat.S_ISREG(now.st_mode) or now.st_nlink > 1:  # it has another name somewhere, and may be anybody's
            return False
        return _set(descriptor, mode, uid, gid)
    finally:
        os.close(descriptor)


def _set_path(path: Path, mode: int, gid: int | None = None) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        return _set(descriptor, mode, None, gid)
    finally:
        os.close(descriptor)


def _set(descriptor: int, mode: int, uid: int | None, gid: int | None) -> bool:
    now = os.fstat(descriptor)
    owner = (now.st_uid if uid is None else uid, now.st_gid if gid is None else gid)
    if changes_owner := (now.st_uid, now.st_gid) != owner:
        os.fchown(descriptor, *owner)
    if changes_mode := stat.S_IMODE(now.st_mode) != mode:
        os.fchmod(descriptor, mode)
    return changes_owner or changes_mode


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

    def root(self, folder: Path) -> list[Path]:
        """Every role may read and execute; below C:\\ every user of the machine could write, which ends here."""
        return self._given(folder, [*(f"{who}:(OI)(CI)RX" for who in self._everybody()), *_full()], reset=False)

    def home(self, folder: Path, role: Role) -> list[Path]:
        """The role may modify, administrators everything, nobody else anything; children inherit it."""
        return self._given(folder, [f"{self.who(role)}:(OI)(CI)M", *_full()])

    def logs(self, folder: Path) -> list[Path]:
        """Every role may modify what is in it."""
        return self._given(folder, [*(f"{who}:(OI)(CI)M" for who in self._everybody()), *_full()])

    def who(self, role: Role) -> str:
        """The role's account as icacls takes it."""
        return self._account or "*" + service_sid(role.service)

    def _everybody(self) -> list[str]:
        return list(dict.fromkeys(self.who(role) for role in ROLES))

    def _given(self, path: Path, grants: Sequence[str], *, reset: bool = True) -> list[Path]:
        before = self._run(["icacls.exe", str(path)])
        self._run(["icacls.exe", str(path), "/inheritance:r", "/grant:r", *grants])
        if reset and any(path.iterdir()):  # children hold nothing of their own, they inherit
            self._run(["icacls.exe", str(path / "*"), "/reset", "/T", "/C", "/Q"])
        return [path] if self._run(["icacls.exe", str(path)]) != before else []


def _full() -> list[str]:
    return [f"{who}:(OI)(CI)F" for who in (SYSTEM, ADMINISTRATORS)]


def service_sid(service: str) -> str:
    """The number of `NT SERVICE\\NAME`: Windows computes it from the name alone (`sc.exe showsid NAME` shows it)."""
    digest = hashlib.sha1(service.upper().encode("utf-16-le"), usedforsecurity=False).digest()
    return "-".join(["S-1-5-80", *map(str, struct.unpack("<5I", digest))])


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, check=False, capture_output=True, timeout=120, encoding="utf-8", errors="replace")
    if done.returncode:
        raise ConfigurationError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()}; run it as administrator")
    return done.stdout
