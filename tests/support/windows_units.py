"""Which tests of the suite run on the tests' Windows machine: tests/windows/not_here.toml."""

from __future__ import annotations

import tomllib

from support.windows import REPOSITORY

_LISTED = tomllib.loads((REPOSITORY / "tests" / "windows" / "not_here.toml").read_text(encoding="utf-8"))

LEFT_OUT: list[str] = [name for group in _LISTED["left_out"] for name in group["tests"]]


def words() -> list[str]:
    """For pytest."""
    files = [f"--ignore={name}" for name in LEFT_OUT if "::" not in name]
    return [*_LISTED["folders"], *files, *(f"--deselect={name}" for name in LEFT_OUT if "::" in name)]
