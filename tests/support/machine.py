"""What this machine may have besides the project: programs that start a real container engine, MySQL or Windows Python.

Only this module looks for them, in the folder that MESSAGEBROKER_TOOLS names. A machine without that folder cannot have
them: such a test is skipped with a reason that begins with CANNOT_HAVE, which tests/run_tiers.py reports and, when CI is
set, fails.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER_VARIABLE = "MESSAGEBROKER_TOOLS"
CANNOT_HAVE = "this machine cannot have "


def tool(name: str) -> Path | None:
    """The program `name` in the tools folder; None on a machine without it."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return None
    found = Path(folder).resolve() / name
    return found if found.is_file() and os.access(found, os.X_OK) else None


def require_tool(name: str) -> Path:
    """The program `name`; the test is skipped where there is none. A folder that is named but not there is an error."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and not Path(folder).is_dir():
        pytest.fail(f"{FOLDER_VARIABLE} is {folder}, which is no folder; set it to the folder that holds {name}, or unset it")
    found = tool(name)
    if found is None:
        pytest.skip(f"{CANNOT_HAVE}{name}: no such program in {FOLDER_VARIABLE} ({folder or 'not set'})")
    return found
