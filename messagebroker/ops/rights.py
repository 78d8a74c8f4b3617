"""Who may read and write the files of an installation: each role its own home, all of them the logs."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Protocol

from messagebroker.ops.rights_windows import WindowsRights
from messagebroker.roles import GROUP, Role

PUBLIC = {".crt", ".pub"}


class Rights(Protocol):
    """Gives rights and takes those that are too many; every method returns the paths whose rights it changed."""

    def root(self, folder: Path) -> list[Path]:
        """The installation's folder and the files in it that have no rights of their own: every role may read."""

    def home(self, folder: Path, role: Role) -> list[Path]:
        """The folder and all in it: for the role alone (and those who administer the machine)."""

    def guest(self, folder: Path) -> list[Path]:
        """The folder and all in it: for the account that it was made for (a monitoring system's), which we do not know."""

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
        """0700 and 0600; what is public is 0644."""
        return _set_tree(folder, *self._account(role.account))

    def guest(self, folder: Path) -> list[Path]:
        """The same, for the folder's owner."""
        now = folder.stat()
        return _set_tree(folder, now.st_uid, now.st_gid)

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


def _set_tree(folder: Path, uid: int | None, gid: int | None) -> list[Path]:
    """Its account may write there, so that it could put links in our way: each file is opened without following one."""
    changed = []
    for place, _, files, descriptor in os.fwalk(folder, onerror=_raise):
        if _set(descriptor, 0o700, uid, gid):
            changed.append(Path(place))
        for name in files:
            mode = 0o644 if Path(name).suffix in PUBLIC else 0o600
            if _set_file(name, descriptor, mode, uid, gid):
                changed.append(Path(place) / name)
    return sorted(changed)


def _raise(error: OSError) -> None:
    raise error


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
