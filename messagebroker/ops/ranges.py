"""Parts of the table of messages that lie side by side in an index, in the order of ids: what every page is read from.

The statements name their index. Left to itself an optimizer expects any row to be as near as any other, and walks the
table in the order of ids; that is a long walk when the rows that are looked for lie at its other end.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from messagebroker.db.connection import database, is_mysql
from messagebroker.db.hints import PRIMARY, by_index
from messagebroker.db.models import STATUSES

_AT_ONCE = 400  # ranges in one statement; SQLite takes 500


@dataclass(frozen=True)
class Range:
    """The rows of which `conditions` are true: columns that lead `index`, so that it has them in the order of ids.

    `index` PRIMARY is the table itself. `values` are the conditions' parameters.
    """

    index: str
    conditions: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()


EVERYTHING = Range(PRIMARY)


def of_client(name: str, status: str | None = None) -> Range:
    """What a client sent."""
    if status is None:
        return Range("messages_client_id_id", ("client_id = ?",), (name,))
    return Range("messages_client_id_status_id", ("client_id = ?", "status = ?"), (name, status))


def of_topic(topic: str, status: str | None = None) -> list[Range]:
    """What is on a topic: a range for each status, so that one index serves both questions."""
    conditions = ("topic = ?", "status = ?")
    wanted = STATUSES if status is None else (status,)
    return [Range("messages_topic_status_id", conditions, (topic, one)) for one in wanted]


def of_status(status: str) -> Range:
    """Messages of a status that have no `due_at`."""
    return Range("messages_status_due_at", ("status = ?", "due_at IS NULL"), (status,))


def of_correlation(correlation_id: str) -> Range:
    """Messages of exactly this correlation id: MySQL's collation finds `É` for `e` too."""
    if is_mysql():
        exact = ("correlation_id = ?", "CAST(correlation_id AS BINARY) = ?")
        return Range("messages_correlation_id_id", exact, (correlation_id, correlation_id.encode()))
    return Range("messages_correlation_id_id", ("correlation_id = ?",), (correlation_id,))


def of_sender(sender_hash: bytes) -> Range:
    """Messages of a sender, by the keyed hash of its name."""
    return Range("messages_sender_hash_id", ("sender_hash = ?",), (sender_hash,))


@dataclass(frozen=True, kw_only=True)
class Window:
    """Which ids of a range, from which end, how many."""

    above: bytes | None = None  # only ids beyond this one
    floor: bytes | None = None  # only ids from this one on
    below: bytes | None = None  # only ids before this one
    newest_first: bool
    limit: int


def ids_in(ranges: Sequence[Range], window: Window) -> list[bytes]:
    """The first ids of all the ranges together, each once. For callers with a connection.

    Every range gives a page at most, whatever else is in it, so that the cost is the same at any depth. The server sorts
    what they give; a message may be in two ranges, its client's and its topic's, so it gives two pages.
    """
    found: set[bytes] = set()
    for at in range(0, len(ranges), _AT_ONCE):
        sql, values = statement(ranges[at : at + _AT_ONCE], window)
        found.update(bytes(row[0]) for row in database.execute_sql(sql, values).fetchall())
    first = heapq.nlargest if window.newest_first else heapq.nsmallest
    return first(window.limit, found)


def statement(ranges: Sequence[Range], window: Window) -> tuple[str, list[Any]]:
    """One statement for some ranges, and its parameters. No value is ever part of the text."""
    selects, values = [], []
    for part in ranges:
        text, given = _select(part, window)
        selects.append(f"({text})" if is_mysql() else f"SELECT id FROM ({text})")  # nosec B608 # noqa: S608
        values += given
    sql = text
    if len(ranges) > 1:
        order = "DESC" if window.newest_first else "ASC"
        together = " UNION ALL ".join(selects)
        sql = f"SELECT id FROM ({together}) AS parts ORDER BY id {order} LIMIT {2 * window.limit:d}"  # nosec B608 # noqa: S608
    return sql.replace("?", database.obj.param), values


def _select(part: Range, window: Window) -> tuple[str, list[Any]]:
    bounds = {"id > ?": window.above, "id >= ?": window.floor, "id < ?": window.below}
    given = {condition: value for condition, value in bounds.items() if value is not None}
    where = " AND ".join([*part.conditions, *given]) or "1 = 1"
    order = "DESC" if window.newest_first else "ASC"
    text = f"SELECT id FROM messages{by_index(part.index)} WHERE {where} ORDER BY id {order} LIMIT {window.limit:d}"  # nosec B608 # noqa: S608
    return text, [*part.values, *given.values()]
