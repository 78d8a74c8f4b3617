"""Which dead letters: said once, and found by the index of failed deliveries alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from messagebroker.db.connection import database
from messagebroker.db.hints import PRIMARY, by_index, join_in_order
from messagebroker.db.writing import time_now
from messagebroker.errors import Refused
from messagebroker.ops import ids
from messagebroker.ops.deliveries.claimed import Pair

INDEX = "deliveries_status_subscription_id_fingerprint_message_id"
FINGERPRINT = r"^[0-9a-f]{16}$(?!\n)"
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


class Selection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Dead letters for which everything that is given is true. `since` and `until`: when the message was accepted."""

    subscription_id: int | None = None
    fingerprint: str | None = None
    since: datetime | None = None  # at or after
    until: datetime | None = None  # before
    message_id: str | None = None
    all: bool = False  # nothing else is given, on purpose


def refuse_vague(selection: Selection) -> None:
    """Raises Refused for one that says nothing without saying that it means all, or says what nothing can be."""
    if not selection.all and selection == Selection():
        raise Refused("say which dead letters: by subscription, fingerprint, time or message; or that you mean all of them")
    if selection.all and selection != Selection(all=True):
        raise Refused("`all` goes with nothing else")
    _refuse_malformed(selection)


def _refuse_malformed(selection: Selection) -> None:
    if selection.message_id is not None and ids.parse(selection.message_id) is None:
        raise Refused(f"{selection.message_id!r} is no message id, which is a UUID")
    if selection.fingerprint is not None and not re.fullmatch(FINGERPRINT, selection.fingerprint):
        raise Refused(f"{selection.fingerprint!r} is no fingerprint, which is 16 hexadecimal digits")


@dataclass(frozen=True)
class Position:
    """Of a dead letter in the order of the index."""

    subscription_id: int
    fingerprint: str | None
    message_id: bytes

    def text(self) -> str:
        """As a column or a cursor keeps it."""
        return f"{self.subscription_id}.{self.fingerprint or ''}.{self.message_id.hex()}"


def read_position(text: str) -> Position:
    """The inverse of `text`; raises ValueError for anything else."""
    found = re.fullmatch(r"([0-9]{1,10})\.([0-9a-f]{16})?\.([0-9a-f]{32})", text)
    if found is None:
        raise ValueError(f"{text!r} is no position")
    return Position(int(found[1]), found[2], bytes.fromhex(found[3]))


def count_by_subscription(selection: Selection) -> dict[int, int]:
    """How many there are for each subscription. Reads entries of an index: those of dead letters, and no others."""
    what = f"SELECT subscription_id, COUNT(*) FROM deliveries{_by(selection)} WHERE {' AND '.join(_said(selection))}"  # nosec B608 # noqa: S608
    return {int(number): int(count) for number, count in database.execute_sql(f"{what} GROUP BY subscription_id").fetchall()}


def count_expired(selection: Selection, numbers: set[int]) -> int:
    """How many there are for these subscriptions whose message's time has passed. Reads their messages, too."""
    if not numbers:
        return 0
    listed = ",".join(map(str, sorted(numbers)))
    sql = (
        f"SELECT COUNT(*) FROM deliveries{_by(selection)} {join_in_order()} messages m ON m.id = message_id"  # nosec B608 # noqa: S608
        f" WHERE {' AND '.join(_said(selection, 'deliveries.'))}"
        f" AND subscription_id IN ({listed}) AND m.expires_at <= {time_now().sql}"
    )
    return int(database.execute_sql(sql).fetchone()[0])


def after(selection: Selection, position: Position | None, limit: int) -> list[Position]:
    """The next ones in the order of the index: by subscription, fingerprint and message."""
    found: list[Position] = []
    for part in _parts(selection, position):
        if len(found) < limit:
            found += _read(selection, part, limit - len(found))
    return found


def _parts(selection: Selection, position: Position | None) -> Iterator[list[str]]:
    """Ranges of the index that follow each other; as one comparison of triples no database would use it."""
    if position is None:
        yield []
        return
    same = [f"subscription_id = {position.subscription_id:d}"]
    yield [*same, _is(position.fingerprint), f"message_id > X'{position.message_id.hex()}'"]
    if selection.fingerprint is None:
        yield [*same, f"fingerprint > '{position.fingerprint or ''}'"]
    if selection.subscription_id is None:
        yield [f"subscription_id > {position.subscription_id:d}"]


def _read(selection: Selection, part: list[str], limit: int) -> list[Position]:
    sql = (
        f"SELECT subscription_id, fingerprint, message_id FROM deliveries{_by(selection)}"  # nosec B608 # noqa: S608
        f" WHERE {' AND '.join([*_said(selection), *part])}"
        f" ORDER BY subscription_id, fingerprint, message_id LIMIT {limit:d}"
    )
    return [Position(int(number), mark, bytes(message)) for number, mark, message in database.execute_sql(sql).fetchall()]


def _said(selection: Selection, table: str = "") -> list[str]:
    """Literals, all of them made of digits."""
    _refuse_malformed(selection)
    found = [f"{table}status = 'failed'"]  # the only name that messages have too
    if selection.subscription_id is not None:
        found.append(f"subscription_id = {selection.subscription_id:d}")
    if selection.fingerprint is not None:
        found.append(_is(selection.fingerprint))
    if selection.since is not None:
        found.append(f"message_id >= X'{ids.floor(_storable(selection.since)).hex()}'")
    if selection.until is not None:
        found.append(f"message_id < X'{ids.floor(_storable(selection.until)).hex()}'")
    if selection.message_id is not None:
        found.append(f"message_id = X'{_bytes(selection.message_id).hex()}'")
    return found


def _is(fingerprint: str | None) -> str:
    return "fingerprint IS NULL" if fingerprint is None else f"fingerprint = '{fingerprint}'"


def _by(selection: Selection) -> str:
    """What a message's own deliveries are is in the primary key; all else is in the one index."""
    return by_index(INDEX if selection.message_id is None else PRIMARY)


def _bytes(text: str) -> bytes:
    found = ids.parse(text)
    assert found is not None
    return found


def _storable(moment: datetime) -> datetime:
    return min(max(moment, _FIRST), _LAST)


def pairs(positions: list[Position]) -> list[Pair]:
    """The keys of their rows."""
    return [(position.message_id, position.subscription_id) for position in positions]


def as_json(selection: Selection) -> str:
    """As a move keeps it."""
    return msgspec.json.encode(selection).decode()


def from_json(text: str) -> Selection:
    """The inverse of `as_json`."""
    return msgspec.json.decode(text, type=Selection)


def document(selection: Selection) -> Any:
    """For the audit log."""
    return msgspec.to_builtins(selection)
