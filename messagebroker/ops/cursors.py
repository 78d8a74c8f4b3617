"""Where a list goes on: opaque outside, a position in the order of an index inside."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from messagebroker.errors import Refused
from messagebroker.ops import clock


class WrongCursor(Refused):
    """The cursor belongs to another list, or was not made here."""


def of_id(position: bytes) -> str:
    """For lists in the order of 16-byte ids."""
    return _text(position)


def of_due(due_at: datetime, position: bytes) -> str:
    """For lists in the order of time, then id."""
    return _text(clock.micros(due_at).to_bytes(8, "big") + position)


def of_number(number: int) -> str:
    """For lists in the order of row numbers."""
    return _text(number.to_bytes(8, "big"))


def of_moment(moment: datetime, number: int) -> str:
    """For lists in the order of time, then row number."""
    return _text(b"m" + clock.micros(moment).to_bytes(8, "big", signed=True) + number.to_bytes(8, "big"))


def of_name(name: str) -> str:
    """For lists in the order of names."""
    return _text(b"n" + name.encode())


def of_position(number: int, mark: str | None, position: bytes) -> str:
    """For lists in the order of a row number, then a word of hexadecimal digits (or none), then a 16-byte id."""
    return _text(b"p" + number.to_bytes(8, "big") + position + bytes.fromhex(mark or ""))


def read_id(cursor: str) -> bytes:
    """The inverse of `of_id`; raises WrongCursor, as the others do."""
    return _bytes(cursor, 16)


def read_due(cursor: str) -> tuple[datetime, bytes]:
    """The inverse of `of_due`."""
    position = _bytes(cursor, 24)
    try:
        return clock.from_micros(int.from_bytes(position[:8], "big")), position[8:]
    except (ValueError, OverflowError, OSError) as error:
        raise WrongCursor("this cursor was not made here") from error


def read_number(cursor: str) -> int:
    """The inverse of `of_number`."""
    number = int.from_bytes(_bytes(cursor, 8), "big")
    if number >= 2**63:
        raise WrongCursor("this cursor was not made here")
    return number


def read_moment(cursor: str) -> tuple[datetime, int]:
    """The inverse of `of_moment`."""
    position = _bytes(cursor, 17)
    number = int.from_bytes(position[9:], "big")
    try:
        if position[:1] == b"m" and number < 2**63:
            return clock.from_micros(int.from_bytes(position[1:9], "big", signed=True)), number
    except (ValueError, OverflowError):
        pass
    raise WrongCursor("this cursor was not made here")


def read_position(cursor: str) -> tuple[int, str | None, bytes]:
    """The inverse of `of_position`."""
    position = _bytes(cursor, None)
    number = int.from_bytes(position[1:9], "big")
    if position[:1] != b"p" or len(position) not in (25, 33) or number >= 2**31:
        raise WrongCursor("this cursor was not made here")
    return number, position[25:].hex() or None, position[9:25]


def read_name(cursor: str) -> str:
    """The inverse of `of_name`."""
    position = _bytes(cursor, None)
    try:
        if position[:1] == b"n":
            return position[1:].decode("ascii")
    except UnicodeDecodeError:
        pass
    raise WrongCursor("this cursor was not made here")


def _text(position: bytes) -> str:
    return base64.urlsafe_b64encode(position).decode().rstrip("=")


def _bytes(cursor: str, length: int | None) -> bytes:
    try:
        position = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise WrongCursor("this is no cursor; take the `next` of the page before") from error
    if length is not None and len(position) != length:
        raise WrongCursor("this cursor belongs to another list; take the `next` of the page before")
    return position
