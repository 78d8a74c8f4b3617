"""Times as people type them: 90s, 15m, 1h, 2d."""

from __future__ import annotations

import re
from datetime import timedelta

import typer

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """The time; raises typer.BadParameter for what is none."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text.strip().lower())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time such as 90s, 15m, 1h or 2d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
