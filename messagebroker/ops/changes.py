"""A change and its audit row: both or neither, and nobody else in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from messagebroker.db.connection import connected, database, is_mysql


@contextmanager
def change() -> Iterator[None]:
    """A transaction. What it reads with `locked` stays as it was read until its end."""
    kind = () if is_mysql() else ("IMMEDIATE",)  # SQLite lets in one writer: from the beginning, so that reads are true too
    with connected(), database.atomic(*kind):
        yield


def locked(query: Any) -> Any:
    """The query, whose rows nobody else changes before this transaction ends."""
    return query.for_update() if is_mysql() else query
