"""What is stored of a client's messages, hour by hour, for comparing with the client's own books."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from messagebroker.db.connection import connected, database
from messagebroker.db.hints import by_index
from messagebroker.errors import Refused
from messagebroker.ops import ids, ranges

LONGEST = timedelta(days=31)
_HOUR = timedelta(hours=1)
_AT_ONCE = 100  # hours in one statement; SQLite takes 500 parts

Windows = Sequence[tuple[bytes, bytes]]
"""Ids from the one to before the other."""


class TooLong(Refused):
    """The span has too many hours."""


@dataclass(frozen=True, kw_only=True)
class Hour:
    """Messages that were accepted in one hour. Every id that was answered with 202 is in one of the numbers in the end."""

    hour: datetime  # its beginning, in UTC
    stored: int
    copies: int  # ids of later copies under an idempotency key: they answer with the first one
    set_aside: int  # could not be stored; operators have them


def counts(client: str, since: datetime, until: datetime) -> list[Hour]:
    """Every hour with a message from `since` to before `until`, by the time of acceptance.

    Raises:
        TooLong: more than 31 days.
    """
    if until - since > LONGEST:
        raise TooLong(f"a span of up to {LONGEST.days} days can be counted at once")
    hours = _hours(since, until)
    if not hours:
        return []
    windows = [(ids.floor(max(hour, since)), ids.floor(min(hour + _HOUR, until))) for hour in hours]
    with connected():
        stored = _count(f"messages{by_index(ranges.of_client(client).index)} WHERE client_id = ?", "id", client, windows)
        copies = _count_rare(_COPIES, "copy.id", client, windows)
        set_aside = _count_rare("ingest_failures WHERE client_id = ?", "id", client, windows)
    found = zip(hours, stored, copies, set_aside, strict=True)
    return [Hour(hour=hour, stored=s, copies=c, set_aside=f) for hour, s, c, f in found if s or c or f]


_COPIES = "message_aliases AS copy JOIN messages AS first ON first.id = copy.message_id WHERE first.client_id = ?"


def _hours(since: datetime, until: datetime) -> list[datetime]:
    found = []
    hour = since.replace(minute=0, second=0, microsecond=0)
    while hour < until:
        found.append(hour)
        hour += _HOUR
    return found


def _count(source: str, column: str, client: str, windows: Windows) -> list[int]:
    """A number for each window, from the index alone."""
    parts = [windows[at : at + _AT_ONCE] for at in range(0, len(windows), _AT_ONCE)]
    return [number for part in parts for number in _counted(source, column, client, part)]


def _count_rare(source: str, column: str, client: str, windows: Windows) -> list[int]:
    """The same where most clients have nothing, which one look tells."""
    [whole] = _counted(source, column, client, [(windows[0][0], windows[-1][1])])
    return _count(source, column, client, windows) if whole else [0] * len(windows)


def _counted(source: str, column: str, client: str, windows: Windows) -> list[int]:
    within = f"FROM {source} AND {column} >= ? AND {column} < ?"
    selects = [f"SELECT {number:d}, COUNT(*) {within}" for number in range(len(windows))]
    values = [value for floor, below in windows for value in (client, floor, below)]
    sql = " UNION ALL ".join(selects).replace("?", database.obj.param)
    found = dict(database.execute_sql(sql, values).fetchall())
    return [int(found[number]) for number in range(len(windows))]
