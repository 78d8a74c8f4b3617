"""The fingerprint of an error: the same for the same kind of failure, whatever differs from one time to the next."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b

_VARYING = (
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d(?:[t ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?(?:z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"\b\d{1,2}:\d\d:\d\d(?:[.,]\d+)?\b"), "<time>"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*"), "<mail>"),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+"), "<url>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "<address>"),
    (re.compile(r"\[?(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])\]?(?::\d+)?"), "<address>"),
    (re.compile(r"\b(?:[a-z0-9-]+\.)+[a-z][a-z0-9-]*(?::\d+)?\b"), "<name>"),
    (re.compile(r"\b0x[0-9a-f]+\b"), "<id>"),
    (re.compile(r"\b(?=[a-z]*\d)[0-9a-f]{8,}\b"), "<id>"),
    (re.compile(r"\d+(?:[.,]\d+)*"), "<n>"),
    (re.compile(r"\s+"), " "),
)
"""What is taken out of an error's text, in this order. The text is in lower case then."""


def fingerprint(channel: str, code: int | None, error: str | None) -> str:
    """16 hexadecimal digits.

    Args:
        channel: by which it was tried, such as `webhook`.
        code: the outcome's, of HTTP or SMTP.
        error: one line for people, as the attempt has it.

    Example: fingerprint("webhook", None, "no answer from 192.0.2.7 within 15 s") has the same result for 192.0.2.8 and 30 s.
    """
    return _digest(channel, code, error or "")


@lru_cache(maxsize=1024)
def _digest(channel: str, code: int | None, error: str) -> str:
    """A destination that is down fails with the same words a thousand times a second."""
    told = f"{channel}\0{'' if code is None else code}\0{kind_of(error)}"
    return blake2b(told.encode("utf-8", "replace"), digest_size=8).hexdigest()


def kind_of(error: str) -> str:
    """The text without numbers, ids, addresses and times."""
    text = error.lower().strip()
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return text
