"""What `doctor` says: one line for each thing that was looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from messagebroker.settings import Settings

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line: what was found, and what to do about it."""

    check: str
    level: Level
    text: str
    fix: str = ""


Check = Callable[[Settings], Iterator[Finding]]


class Findings:
    """Makes the findings of one check.

    Example: `findings = Findings("disk")`, then `yield findings.error("…", "…")`.
    """

    def __init__(self, check: str) -> None:
        self.check = check

    def ok(self, text: str) -> Finding:
        """As it should be."""
        return Finding(check=self.check, level="ok", text=text)

    def warning(self, text: str, fix: str) -> Finding:
        """Works, but will bite."""
        return Finding(check=self.check, level="warning", text=text, fix=fix)

    def error(self, text: str, fix: str) -> Finding:
        """Does not work, or loses something."""
        return Finding(check=self.check, level="error", text=text, fix=fix)
