"""Message ids: UUIDv7 (RFC 9562), 16 bytes inside, canonical text outside. Sorted by time."""

from __future__ import annotations

import uuid
from datetime import datetime

import uuid_utils

from messagebroker.ops import clock

_LAST_MILLISECOND = 253_402_300_799_999  # of the year 9999


def new() -> bytes:
    """A fresh id."""
    return uuid_utils.uuid7().bytes


def text(value: bytes) -> str:
    """The canonical form, 36 characters."""
    return str(uuid.UUID(bytes=bytes(value)))


def parse(value: str) -> bytes | None:
    """The 16 bytes of a canonical UUID, None for anything else."""
    if len(value) != 36:
        return None
    try:
        return uuid.UUID(value).bytes
    except ValueError:
        return None


def is_after(value: bytes, moment: datetime) -> bool:
    """Whether the id was drawn after `moment`. Strangers' ids may claim a year that no datetime holds."""
    return value[:6] > floor(moment)[:6]


def drawn_at(value: bytes) -> datetime:
    """When an id was drawn, to the millisecond. Strangers' ids may claim a year that no datetime holds: the last one then."""
    return clock.from_micros(min(int.from_bytes(value[:6], "big"), _LAST_MILLISECOND) * 1000)


def floor(moment: datetime) -> bytes:
    """The smallest id that an id drawn at `moment` or later can have: turns a time range into an id range.

    Before 1970 there were none: that is as 1970.
    """
    return _first_of(clock.micros(moment) // 1000)


def ceiling(moment: datetime) -> bytes:
    """The smallest id of the millisecond after `moment`: whatever was drawn by then is below it."""
    return _first_of(clock.micros(moment) // 1000 + 1)


def end_of(until: datetime | None) -> bytes:
    """Ends an id range before what was drawn at `until`; None: after all that was drawn by now."""
    return ceiling(clock.now()) if until is None else floor(until)


def _first_of(millisecond: int) -> bytes:
    return max(0, millisecond).to_bytes(6, "big") + b"\x70\x00\x80" + bytes(7)
