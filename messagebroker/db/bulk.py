"""Multi-row INSERTs of messages as one text each: values are written as literals, bytes in hexadecimal.

This is the fastest form found for one connection (docs/performance.md): no driver escapes anything, the server parses
once. Text is put in quotes only when it consists of harmless characters; everything else is hexadecimal too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import peewee as pw

from messagebroker.db.connection import database, is_mysql

MYSQL_BYTES = 4 * 1024 * 1024
SQLITE_BYTES = 900_000
_CACHE_ENTRIES = 4096
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # time.gmtime ends with the year 3000 on Windows
_HARMLESS = re.compile(r"[A-Za-z0-9 ._/+:@-]*", re.ASCII).fullmatch


class Literals:
    """Values as SQL text, in one dialect. The ones that come again and again are remembered."""

    def __init__(self, *, mysql: bool) -> None:
        self._unharmless = "_utf8mb4 X'{}'" if mysql else "CAST(X'{}' AS TEXT)"
        self._texts: dict[str, str] = {}
        self._seconds: dict[int, str] = {}

    def text(self, value: str) -> str:
        """A text that many rows share."""
        found = self._texts.get(value)
        if found is None:
            if len(self._texts) >= _CACHE_ENTRIES:
                self._texts.clear()
            found = self._texts[value] = self.once(value)
        return found

    def once(self, value: str) -> str:
        """A text of one row."""
        return f"'{value}'" if _HARMLESS(value) else self._unharmless.format(value.encode().hex())

    def moment(self, micros: int) -> str:
        """Microseconds since 1970 as a DATETIME(6) in UTC.

        Raises:
            ValueError: outside the years 1970 to 9999.
        """
        seconds, rest = divmod(micros, 1_000_000)
        found = self._seconds.get(seconds)
        if found is None:
            if not 0 <= seconds < 253_402_300_800:
                raise ValueError(f"{micros} is not within the years 1970 to 9999")
            if len(self._seconds) >= _CACHE_ENTRIES:
                self._seconds.clear()
            found = self._seconds[seconds] = (_EPOCH + timedelta(seconds=seconds)).strftime("'%Y-%m-%d %H:%M:%S.")
        return f"{found}{rest:06d}'"


_MYSQL, _SQLITE = Literals(mysql=True), Literals(mysql=False)


def literals() -> Literals:
    """Those of the database in use."""
    return _MYSQL if is_mysql() else _SQLITE


def insert(model: type[pw.Model], columns: Sequence[str], rows: Iterable[str]) -> None:
    """Inserts rows, each `(literal,…)`, in as few statements as their size allows, inside the caller's transaction."""
    head = f"INSERT INTO {model._meta.table_name} ({','.join(columns)}) VALUES "  # nosec B608 # noqa: S608 - both are the program's own
    for statement in _statements(head, list(rows), MYSQL_BYTES if is_mysql() else SQLITE_BYTES):
        database.execute_sql(statement)


def _statements(head: str, rows: list[str], most: int) -> Iterator[str]:
    if rows and len(head) + sum(map(len, rows)) + len(rows) <= most:
        yield head + ",".join(rows)
        return
    part: list[str] = []
    size = len(head)
    for row in rows:
        if part and size + len(row) >= most:
            yield head + ",".join(part)
            part, size = [], len(head)
        part.append(row)
        size += len(row) + 1
    if part:
        yield head + ",".join(part)
