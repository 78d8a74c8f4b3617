"""The audit log as a file, piece by piece: CSV for spreadsheets, JSON lines for programs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any, Literal

import msgspec

from messagebroker.ops import audit, clock
from messagebroker.ops.audit import Actor, Entry, Filters

Format = Literal["csv", "jsonl"]
COLUMNS = ("id", "created_at", "actor", "action", "object_type", "object_id", "address", "user_agent", "details")
MEDIA: dict[Format, str] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}

_AT_ONCE = 1000
_FORMULA = re.compile(r"""^(?=["\s]*[=+\-@]|[\t\r\n])|[;\t\r\n]["\s]*(?=[=+\-@])""")
"""In front of what spreadsheets take for a formula. Strangers write user agents and addresses of e-mail.

Also inside of a cell: a spreadsheet whose language has the decimal comma separates columns at `;`, and finds a cell there.
"""


def export(filters: Filters, form: Format, actor: Actor) -> Iterator[bytes]:
    """The rows that are there now, oldest first. That it was done is a row too, before the first piece.

    Raises:
        Unindexed: no index serves these filters together.
        Unavailable: the database does not answer.
    """
    audit.refuse_unindexed(filters)
    now = clock.now()
    filters = replace(filters, until=now if filters.until is None else min(filters.until, now))
    asked = {name: value for name, value in asdict(filters).items() if value is not None}
    audit.record_by(actor, "audit.export", "audit", "log", {"format": form, **asked})
    return _pieces(filters, _FORMATS[form])


def _pieces(filters: Filters, write: Callable[[list[Entry], bool], bytes]) -> Iterator[bytes]:
    after, is_first = None, True
    while True:
        found = audit.page(limit=_AT_ONCE, newest_first=False, after=after, filters=filters)
        yield write(found, is_first)
        if len(found) < _AT_ONCE:
            return
        after, is_first = (found[-1].created_at, found[-1].id), False


def _csv(entries: list[Entry], is_first: bool) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    if is_first:
        writer.writerow(COLUMNS)
    for entry in entries:
        writer.writerow([_cell(getattr(entry, name)) for name in COLUMNS])
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = msgspec.json.encode(value).decode() if isinstance(value, dict) else str(value)
    return _FORMULA.sub(r"\g<0>'", text)


def _lines(entries: list[Entry], is_first: bool) -> bytes:
    return b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)


_FORMATS: dict[str, Callable[[list[Entry], bool], bytes]] = {"csv": _csv, "jsonl": _lines}
