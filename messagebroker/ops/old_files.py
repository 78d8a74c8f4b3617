"""Makes the files at the old paths, from the table of old names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from messagebroker.ops.old_names import LINUX, WINDOWS, OldName, of_system

MARK = "made by Message Broker's installer"
"""In every file, so that ours can be told from an operator's own."""


def write(root: Path, python: Path | None = None, system: str | None = None) -> list[str]:
    """The files of this system below `root`, as they have to be; a sentence for each change.

    A file of somebody else's at such a path is kept beside it, as NAME.before.
    """
    program = python or Path(sys.executable)
    system = system or (WINDOWS if os.name == "nt" else LINUX)
    changes = []
    for old in of_system(system):
        changes += _written(root / old.path, text(old, root, program))
    if system == WINDOWS:
        changes += _written(root / "messagebroker.cmd", _CMD.format(mark=MARK, root=root, python=program))
    return changes


def remove(root: Path) -> list[str]:
    """Takes our files out again; what is not ours stays."""
    changes = []
    for path in [root / "messagebroker.cmd", *(root / old.path for old in (*of_system(WINDOWS), *of_system(LINUX)))]:
        if path.exists() and MARK in _read(path):
            path.unlink()
            changes.append(f"{path}: removed")
    return changes


def text(old: OldName, root: Path, python: Path) -> str:
    """The file: it calls the table, and knows nothing else."""
    ending = Path(old.path).suffix
    return _TEXTS[ending].format(mark=MARK, path=old.path, now=old.now, root=root, python=python)


_BAT = """\
@rem {mark}: this is now `messagebroker {now}`
@"{python}" -I -m messagebroker old --root "{root}" {path} %*
"""
_CMD = """\
@rem {mark}: `messagebroker` where its settings are
@setlocal
@cd /d "{root}"
@"{python}" -I -m messagebroker %*
"""
_PS1 = """\
# {mark}: this is now `messagebroker {now}`
& "{python}" -I -m messagebroker old --root "{root}" {path} @args
exit $LASTEXITCODE
"""
_PY = """\
# {mark}: this is now `messagebroker {now}`
import subprocess
import sys

command = [r"{python}", "-I", "-m", "messagebroker", "old", "--root", r"{root}", "{path}"]
sys.exit(subprocess.call(command + sys.argv[1:]))
"""
_SH = """\
#!/bin/sh
# {mark}: this is now `messagebroker {now}`
exec '{python}' -I -m messagebroker old --root '{root}' {path} "$@"
"""
_TEXTS = {".bat": _BAT, ".ps1": _PS1, ".py": _PY, ".sh": _SH}


def _written(path: Path, wanted: str) -> list[str]:
    windows = path.suffix in (".bat", ".cmd", ".ps1")
    data = wanted.replace("\n", "\r\n").encode() if windows else wanted.encode()
    if path.suffix == ".ps1" and not wanted.isascii():
        data = b"\xef\xbb\xbf" + data  # without it PowerShell 5.1 reads the machine's own code page
    if path.exists() and path.read_bytes() == data:
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    changes = []
    if path.exists() and MARK not in _read(path):
        path.replace(path.with_name(f"{path.name}.before"))
        changes.append(f"{path}: what was there is kept as {path.name}.before")
    path.write_bytes(data)
    path.chmod(0o755)
    return [*changes, f"{path}: written"]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
