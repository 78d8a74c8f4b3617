"""The ids of one request: consecutive UUIDv7s, so that a batch draws once and an answer can be given again from one id."""

from __future__ import annotations

import os
import struct
import time

_TEXTS: list[str] = []
SUFFIXES: list[bytes] = []
"""The last two bytes of the id of item 0, 1, 2, …"""

MAX_ITEMS = 1 << 16
PREFIX_BYTES = 14


def prepare(items: int) -> None:
    """Makes the tables for batches of so many items."""
    for number in range(len(SUFFIXES), min(items, MAX_ITEMS)):
        SUFFIXES.append(struct.pack(">H", number))
        _TEXTS.append(f'{{"index":{number},"message_id":"@{number:04x}","status":"queued"}}')


class Draw:
    """A moment and the 14 bytes that all ids of a request share.

    RFC 9562, method 3: the 12 bits after the version carry the fraction of the millisecond, so that ids sort as they
    were drawn; then 46 random bits, then the number of the item. Whoever knows an id of a batch can guess the
    others, which helps nobody: messages are only given to the client that sent them.
    """

    __slots__ = ("accepted_at", "prefix")

    def __init__(self, accepted_at: int | None = None, prefix: bytes | None = None) -> None:
        self.accepted_at = time.time_ns() // 1000 if accepted_at is None else accepted_at  # microseconds since 1970
        self.prefix = self._drawn() if prefix is None else prefix

    def _drawn(self) -> bytes:
        millis, rest = divmod(self.accepted_at, 1000)
        drawn = int.from_bytes(os.urandom(6), "big") >> 2
        high = (millis << 16) | 0x7000 | (rest * 4096 // 1000)
        return ((high << 48) | (0b10 << 46) | drawn).to_bytes(14, "big")

    @property
    def text(self) -> str:
        """The first 32 characters of every id; four hexadecimal digits follow."""
        digits = self.prefix.hex()
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def message_id(self, item: int = 0) -> str:
        """The canonical id of an item."""
        return f"{self.text}{item:04x}"

    def queued_items(self, count: int) -> str:
        """The JSON of the items 0 to count-1 of a batch answer, all queued."""
        return ",".join(_TEXTS[:count]).replace("@", self.text)

    def queued_item(self, item: int) -> str:
        """The JSON of one of them."""
        return _TEXTS[item].replace("@", self.text)


prepare(1000)
