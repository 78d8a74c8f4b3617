"""Going along the audit log's chain from its beginning: which links are right, and what became of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Literal

import msgspec

from messagebroker.db import audit_seals
from messagebroker.db.connection import connected
from messagebroker.ops import audit_rows
from messagebroker.ops.audit_head import Head

Kind = Literal[
    "changed", "removed", "inserted", "seal-changed", "seal-inserted", "seals-missing", "head-differs", "went-back", "head-file"
]
_BATCH = 2000


class Finding(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One thing that is not as it was written. `after` and `before`: the rows around it are of these times."""

    kind: Kind
    what: str
    row: int | None = None  # audit_log.id
    seq: int | None = None  # its place in the chain
    after: datetime | None = None
    before: datetime | None = None


class Walk:
    """One pass over the chain and, after it, over what is not sealed.

    Args:
        chain_key: of the links.
        row_key: of the rows' signatures.
        watch: numbers of links whose values are wanted in `seen`.
        progress: is told how many of how many rows are done.
    """

    def __init__(
        self,
        chain_key: bytes,
        row_key: bytes,
        watch: frozenset[int],
        progress: Callable[[int, int], object] = lambda n, of: None,
    ) -> None:
        self._chain_key, self._row_key, self._watch, self._progress = chain_key, row_key, watch, progress
        self.findings: list[Finding] = []
        self.head = Head(0, audit_rows.NO_LINK.hex())
        self.seen: dict[int, str] = {}
        self.times: dict[int, datetime] = {}  # of the rows at the watched numbers
        self.row_at: dict[int, int] = {}  # and their ids
        self.rows = 0  # that are sealed and there
        self.unsealed = 0
        self.unsigned = 0  # rows of before there were signatures
        self.first: tuple[int, datetime] | None = None  # id and time of the first sealed row
        self.last: tuple[int, datetime] | None = None
        self.copies: dict[int, int] = {}
        self._signed_since = False
        self._candidates: list[bytes] | None = [audit_rows.NO_LINK]  # what may be before the next link; None: anything
        self._pending: Finding | None = None  # whether the row or its seal was changed is known one link later
        self._open: list[Finding] = []  # findings that wait for the time of the next row

    def go(self) -> None:
        """The whole pass."""
        with connected():
            last = audit_seals.last_seal()
            total = last[0] if last else 0
            for seq, row_id in audit_seals.strays(_BATCH):
                what = f"link {seq} of row {row_id} was inserted: it is outside of the chain, which begins with 1"
                self._find("seal-inserted", what, row_id, seq)
            self.copies = {copy: original for original, copy in audit_seals.repeated_signatures()}
            at = 0
            while found := audit_seals.sealed(at, _BATCH):
                for seq, row_id, mac, row in found:
                    self._link(at, seq, row_id, mac, row)
                    at = seq
                self._progress(at, total)
            self.head = Head(at, mac.hex()) if at else self.head
            self._pending = None
            for row in self._unsealed():
                self.unsealed += 1
                self._check_signature(row, None)

    def _link(self, before: int, seq: int, row_id: int, mac: bytes, row: audit_seals.Row | None) -> None:
        if seq != before + 1:
            which = f"{before + 1}" if seq == before + 2 else f"{before + 1} to {seq - 1}"
            self._find("seals-missing", f"the chain lacks its links {which}", None, seq - 1)
            self._candidates, self._pending = None, None
        if seq in self._watch:
            self.seen[seq] = mac.hex()
        if row is None:
            self._find("removed", f"row {row_id} was removed", row_id, seq)
            self._candidates, self._pending = [mac], None
            return
        self._meet(row, seq)
        if self._candidates is None:  # nothing is known of the link before: this one is taken as it is
            self._candidates = [mac]
            self._check_signature(row, seq)
            return
        links = [audit_rows.link(self._chain_key, one, seq, row) for one in self._candidates]
        if mac in links:
            self._settle(by=links.index(mac))
            self._candidates = [mac]
            self._check_signature(row, seq)
            return
        self._settle(by=0)
        genuine = row_id not in self.copies and audit_rows.is_genuine(self._row_key, row)
        said = f"row {row_id} or its link {seq} was changed or exchanged" if genuine else f"row {row_id} was changed"
        self._pending = self._find("changed", said, row_id, seq)
        self._candidates = [mac, links[0]]

    def _settle(self, *, by: int) -> None:
        """What the next link says of the one before that was wrong."""
        if self._pending is not None and by == 1:
            self._pending.kind = "seal-changed"
            self._pending.what = f"link {self._pending.seq} was changed; row {self._pending.row} is as it was written"
        self._pending = None

    def _meet(self, row: audit_seals.Row, seq: int) -> None:
        moment = row["created_at"]
        self.rows += 1
        if not isinstance(moment, datetime):
            return
        for finding in self._open:
            finding.before = moment
        self._open.clear()
        self.last = (int(row["id"]), moment)
        self.first = self.first or self.last
        if seq in self._watch:
            self.times[seq] = moment
            self.row_at[seq] = int(row["id"])

    def _check_signature(self, row: audit_seals.Row, seq: int | None) -> None:
        row_id = int(row["id"])
        if row_id in self.copies:
            self._find("inserted", f"row {row_id} was inserted: it is a copy of row {self.copies[row_id]}", row_id, seq)
        elif row["signature"] is None and not self._signed_since:
            self.unsigned += 1
        elif not audit_rows.is_genuine(self._row_key, row):
            said = "changed before it was sealed, or inserted" if row["signature"] else "inserted"
            self._find("inserted", f"row {row_id} was {said}, by somebody without main's secret", row_id, seq)
        else:
            self._signed_since = True

    def _find(self, kind: Kind, what: str, row: int | None, seq: int | None) -> Finding:
        finding = Finding(kind=kind, what=what, row=row, seq=seq, after=self.last[1] if self.last else None)
        self.findings.append(finding)
        self._open.append(finding)
        return finding

    def _unsealed(self) -> Iterator[audit_seals.Row]:
        for after, until in audit_seals.windows(10_000):
            at = after
            while found := audit_seals.unsealed(at, until, _BATCH):
                yield from found
                at = int(found[-1]["id"])
