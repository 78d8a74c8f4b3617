"""How to start another process of this very Python, so that the process started is the one that works.

On Windows the python.exe of a virtual environment only starts the real one: whoever started it would know the starter's
number, and neither a heartbeat nor a metric would ever come from that. Python's own multiprocessing goes this way too.
"""

from __future__ import annotations

import os
import sys

_ENVIRONMENT_OF = "__PYVENV_LAUNCHER__"
"""Tells the real python.exe which virtual environment it is to be."""


def command(*words: str) -> list[str]:
    """A command line for this interpreter. The current folder is no place to import from: services run in their data."""
    return [_base() or sys.executable, "-P", *words]


def variables() -> dict[str, str]:
    """What its process needs in its environment beside everything else."""
    return {_ENVIRONMENT_OF: sys.executable} if _base() else {}


def _base() -> str | None:
    """The real python.exe behind that of a virtual environment."""
    base: str = getattr(sys, "_base_executable", sys.executable)
    return base if os.name == "nt" and base.lower() != sys.executable.lower() else None
