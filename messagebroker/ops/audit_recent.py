"""The newest rows of the audit log and their links, as one main has seen them come.

A row that has a link looks sealed. Who can write to the database can give a row one before main does: a link of some old row,
taken from it for a while. The row would never be sealed, and once it was removed and the link was given back, nothing would
tell. So main remembers which links there were: one of those that belongs to another row now is forged, unless the key says
that it is right.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from messagebroker.db import audit_seals
from messagebroker.ops import audit_rows

_ROWS = 500
"""How many of the newest are looked at. They are read every second; a row is among them when it appears."""


class Recent:
    """Remembers from look to look.

    Args:
        key: of the chain.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[int, tuple[int, bytes | None]] = {}  # number and signature, by row: a row's id may come back
        self._head = 0  # links up to there were seen, or added by this main

    def forged(self) -> list[tuple[int, int]]:
        """Number and row of links that belonged to another row before, or to none. The first look finds none."""
        last = audit_seals.last_seal()  # before the rows: links that another main adds in between are no older than it
        links = audit_seals.newest_links(_ROWS)
        moved = [(link[0], row) for row, link in links.items() if link[0] <= self._head and self._known.get(row) != link]
        forged = self._wrong(moved) if moved else []
        self._known = {row: link for row, link in links.items() if (link[0], row) not in forged}
        self._head = last[0] if last else 0
        return forged

    def added(self, seals: Iterable[tuple[int, audit_seals.Row]]) -> None:
        """Number and row of what this main has just sealed."""
        for seq, row in seals:
            self._known[int(row["id"])] = (seq, row["signature"] and bytes(row["signature"]))
            self._head = seq
        for row_id in list(self._known)[: -4 * _ROWS]:  # the first sweep seals millions
            del self._known[row_id]

    def _wrong(self, moved: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those that the key denies. Others were added by another main, or were not among the newest before."""
        links = audit_seals.numbered({number for seq, _ in moved for number in (seq - 1, seq)})
        return [(seq, row_id) for seq, row_id in moved if not self._is_right(links.get(seq - 1), links.get(seq), row_id)]

    def _is_right(self, before: audit_seals.Link | None, link: audit_seals.Link | None, row_id: int) -> bool:
        if link is None or link[1] != row_id or link[3] is None or (before is None and link[0] > 1):
            return False
        mac = audit_rows.NO_LINK if before is None else before[2]
        return hmac.compare_digest(audit_rows.link(self._key, mac, link[0], link[3]), link[2])
