"""How a server says what it will do, and what it did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from messagebroker.db import inspection
from messagebroker.db.connection import connected, database


def explain() -> str:
    """As a table: MySQL 9 draws a tree unless asked, and MariaDB does not know how to be asked."""
    return "EXPLAIN" if "MariaDB" in inspection.server() else "EXPLAIN FORMAT=TRADITIONAL"


def rows_by_name(sql: str, parameters: Any = ()) -> list[dict[str, Any]]:
    """What a statement answers."""
    found = database.execute_sql(sql, parameters)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Those that are sent in the meantime."""
    sent: list[tuple[str, Any]] = []
    run = database.obj.execute_sql

    def spying(sql: str, params: Any = None, *more: Any, **named: Any) -> Any:
        sent.append((sql, params))
        return run(sql, params, *more, **named)

    database.obj.execute_sql = spying
    try:
        yield sent
    finally:
        del database.obj.execute_sql


@contextmanager
def counting_reads() -> Iterator[list[int]]:
    """How many rows and index entries the server reads in the meantime; the list has the number afterwards."""
    found: list[int] = []
    with connected():
        before = _reads()
        yield found
        found.append(_reads() - before)


def _reads() -> int:
    counted = rows_by_name("SHOW SESSION STATUS LIKE 'Handler_read_%%'")
    return sum(int(row["Value"]) for row in counted if row["Variable_name"] != "Handler_read_rnd_next")  # SHOW counts there
