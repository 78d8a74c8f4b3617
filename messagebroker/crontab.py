"""What a crontab line looks like; the scheduler's own parser takes a minute 61 without a word."""

from __future__ import annotations

import re

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?")


def problem(line: str) -> str | None:
    """What is wrong with a line such as `0 2 * * *`, None when nothing is."""
    texts = line.lower().split()
    if len(texts) != len(_FIELDS):
        return "must have five fields as in crontab: minute hour day month weekday"
    for number, name in enumerate(_WEEKDAYS):
        texts[4] = texts[4].replace(name, str(number))
    for text, (name, low, high) in zip(texts, _FIELDS, strict=True):
        if not all(_is_part(part, low, high) for part in text.split(",")):
            return f"has a {name} {text!r} that is no crontab field from {low} to {high}"
    return None


def _is_part(text: str, low: int, high: int) -> bool:
    match = _PART.fullmatch(text)
    if match is None:
        return False
    numbers = [int(number) for number in match.group(1, 2) if number is not None]
    return all(low <= number <= high for number in numbers) and numbers == sorted(numbers)
