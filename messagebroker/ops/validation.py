"""What msgspec says of a value that it refuses, as a sentence and a place."""

from __future__ import annotations

import re

import msgspec

_AT = re.compile(r" - at `\$\.?(.*?)`$")
_UNKNOWN = re.compile(r"unknown field `(.*?)`")
_MISSING = re.compile(r"missing required field `(.*?)`")


def explain(error: msgspec.ValidationError) -> tuple[str, str | None]:
    """What is wrong, and where (`items[3].topic`; None: the document as a whole)."""
    text = str(error)
    place = _AT.search(text)
    detail, path = (text[: place.start()], place.group(1)) if place else (text, "")
    named = _UNKNOWN.search(detail) or _MISSING.search(detail)
    if named:
        path = f"{path}.{named.group(1)}" if path else named.group(1)
    return detail, path or None
