"""Junctions: Windows' folders that lead elsewhere. Whoever owns a folder may make them, and Python walks through them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from messagebroker.errors import Refused

_MOUNT_POINT = 0xA0000003


def leads_elsewhere(path: Path) -> bool:
    """Whether it is a link or a junction."""
    return path.is_symlink() or _tag(path) == _MOUNT_POINT


def files_below(folder: Path) -> Iterator[Path]:
    """Every file, in the order of names; nothing behind a link.

    Raises:
        Refused: there is a junction; what acts on all that is in the folder would act elsewhere too.
    """
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _tag(path) == _MOUNT_POINT:
            raise Refused(f"{path} leads elsewhere by a junction; remove it with `rmdir`, then run this again")
        if path.is_dir() and not path.is_symlink():
            yield from files_below(path)
        elif path.is_file():
            yield path


def refuse(folder: Path) -> None:
    """Raises Refused when there is a junction anywhere in the folder, or the folder is one."""
    if folder.exists() and _tag(folder) == _MOUNT_POINT:
        raise Refused(f"{folder} leads elsewhere by a junction; put a folder in its place, then run this again")
    for _ in files_below(folder):
        continue


def _tag(path: Path) -> int:
    try:
        return getattr(path.lstat(), "st_reparse_tag", 0)  # on Windows only
    except OSError:
        return 0
