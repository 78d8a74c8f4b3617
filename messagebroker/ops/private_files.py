"""Files that only their owner may read: keys and secrets."""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from messagebroker.errors import ConfigurationError, Conflict, Refused

CHECKS_RIGHTS = os.name == "posix"
"""Whether `is_private` can tell: on Windows the access list decides, which mode bits do not show."""

_SHARING_SECONDS = 2.0  # Windows refuses to replace a file while somebody reads it


def write_secret(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Writes `data` for the owner alone (0600); after a crash the file is whole or not there.

    Raises:
        Refused: the file exists and `overwrite` is false.
    """
    _write(path, data, mode=0o600, overwrite=overwrite)


def write_public(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """The same for a file that everybody may read, such as a certificate."""
    _write(path, data, mode=0o644, overwrite=overwrite)


def read_secret(path: Path) -> bytes:
    """The file's bytes.

    Raises:
        ConfigurationError: it is missing, empty or unreadable.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path} is missing; copy it here from the main server or from a backup") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    if not data:
        raise ConfigurationError(f"{path} is empty; bring it back from a backup")
    return data


def is_private(path: Path) -> bool:
    """Whether nobody but the owner has rights; always true where `CHECKS_RIGHTS` is false."""
    return not CHECKS_RIGHTS or path.stat().st_mode & 0o077 == 0


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds `path` + `.lock` for the block, so that two processes do not change a file at once.

    Raises:
        Conflict: somebody else has held it for ten seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # SQLite's lock is the same on every system and is released when its holder dies
    with closing(sqlite3.connect(path.with_name(path.name + ".lock"), timeout=10, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise Conflict(f"another process is changing {path}; try again when it has ended") from error
        yield


def _write(path: Path, data: bytes, *, mode: int, overwrite: bool) -> None:
    if not overwrite and path.exists():
        raise Refused(f"{path} exists and is not overwritten; move it away first")
    if not path.parent.exists():
        path.parent.mkdir(parents=True, mode=0o700 if mode == 0o600 else 0o755)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            _replace(draft, path)
        else:
            _put(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _put(draft: Path, path: Path) -> None:
    try:
        if os.name == "posix":
            path.hardlink_to(draft)  # fails when `path` exists, which rename does not on POSIX
        else:
            draft.rename(path)
    except FileExistsError as error:  # another process got there first
        raise Refused(f"{path} exists and is not overwritten; move it away first") from error


def _replace(draft: Path, path: Path) -> None:
    deadline = time.monotonic() + _SHARING_SECONDS
    while True:
        try:
            draft.replace(path)
            return
        except PermissionError:
            if os.name == "posix" or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
