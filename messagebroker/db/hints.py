"""What a statement says about the index it is read by."""

from __future__ import annotations

from messagebroker.db.connection import is_mysql

PRIMARY = "PRIMARY"


def join_in_order() -> str:
    """In place of JOIN: the table before it is read first."""
    return "STRAIGHT_JOIN" if is_mysql() else "CROSS JOIN"


def by_index(name: str) -> str:
    """Stands behind a table's name: this index, whatever the server's statistics say. PRIMARY is the table itself."""
    if is_mysql():
        return f" FORCE INDEX ({name})"
    return "" if name == PRIMARY else f" INDEXED BY {name}"
