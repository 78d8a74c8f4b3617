"""Statements over the audit log and its seals, each short and on an index."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import peewee as pw

from messagebroker.db import models
from messagebroker.db.connection import is_mysql

AuditEntry: Any = models.AuditEntry  # the stubs of peewee know no columns
AuditSeal: Any = models.AuditSeal

Row = dict[str, Any]
Link = tuple[int, int, bytes, Row | None]
"""Number, row's id, the link itself, and the row (None: it is gone)."""
_IN_CHAIN = AuditSeal.seq >= 1
"""The chain begins with 1. Whoever writes a seal below that wants its row to look sealed."""
_OF_ROW = [
    AuditEntry.id, AuditEntry.created_at, AuditEntry.actor, AuditEntry.action, AuditEntry.object_type, AuditEntry.object_id,
    AuditEntry.address, AuditEntry.user_agent, AuditEntry.details, AuditEntry.signature,
]  # fmt: skip


def last_seal(*, locked: bool = False) -> tuple[int, bytes] | None:
    """Number and link of the last one. `locked`: nobody else adds one before this transaction ends, or fails."""
    query = AuditSeal.select(AuditSeal.seq, AuditSeal.mac).where(_IN_CHAIN).order_by(AuditSeal.seq.desc()).limit(1).tuples()
    found = list(query.for_update() if locked and is_mysql() else query)
    return (int(found[0][0]), bytes(found[0][1])) if found else None


def seal(seq: int) -> bytes | None:
    """The link of that number."""
    found = list(AuditSeal.select(AuditSeal.mac).where(AuditSeal.seq == seq).tuples())
    return bytes(found[0][0]) if found else None


def add(seals: Sequence[tuple[int, int, bytes]]) -> None:
    """Adds links as (number, row, link); raises IntegrityError when somebody else has added one of them."""
    AuditSeal.insert_many(seals, fields=[AuditSeal.seq, AuditSeal.audit_id, AuditSeal.mac]).execute()


def newest_sealed_row() -> int:
    """The highest id of a sealed row, 0 when there is none."""
    return int(AuditSeal.select(pw.fn.MAX(AuditSeal.audit_id)).scalar() or 0)


def strays(limit: int) -> list[tuple[int, int]]:
    """Number and row of seals that are not in the chain."""
    found = AuditSeal.select(AuditSeal.seq, AuditSeal.audit_id).where(~_IN_CHAIN).order_by(AuditSeal.seq).limit(limit)
    return [(int(seq), int(row)) for seq, row in found.tuples()]


def remove(forged: Sequence[tuple[int, int]]) -> None:
    """Takes out seals, given as number and row."""
    for seq, row in forged:
        AuditSeal.delete().where(AuditSeal.seq == seq, AuditSeal.audit_id == row).execute()


def newest_links(rows: int) -> dict[int, tuple[int, bytes | None]]:
    """Among so many newest rows, by id: the number of the seal and the row's signature. What is not sealed is left out."""
    lowest = list(AuditEntry.select(AuditEntry.id).order_by(AuditEntry.id.desc()).offset(rows - 1).limit(1).tuples())
    query = AuditEntry.select(AuditEntry.id, AuditSeal.seq, AuditEntry.signature).join(
        AuditSeal, on=((AuditSeal.audit_id == AuditEntry.id) & _IN_CHAIN)
    )
    if lowest:
        query = query.where(AuditEntry.id >= lowest[0][0], AuditSeal.audit_id >= lowest[0][0])
    return {int(row): (int(seq), signature and bytes(signature)) for row, seq, signature in query.tuples()}


def windows(rows: int) -> Iterator[tuple[int | None, int | None]]:
    """The whole log in parts (after, until] of so many rows, however far apart their ids are; None is its beginning and end."""
    after: int | None = None
    while True:
        query = AuditEntry.select(AuditEntry.id).order_by(AuditEntry.id).offset(rows - 1).limit(1)
        found = list((query if after is None else query.where(AuditEntry.id > after)).tuples())
        until = int(found[0][0]) if found else None
        yield after, until
        if until is None:
            return
        after = until


def unsealed(after: int | None, until: int | None, limit: int) -> list[Row]:
    """Rows without a place in the chain with ids in (after, until], the lowest first."""
    query = (
        AuditEntry.select(*_OF_ROW)
        .join(AuditSeal, pw.JOIN.LEFT_OUTER, on=((AuditSeal.audit_id == AuditEntry.id) & _IN_CHAIN))
        .where(AuditSeal.seq.is_null())
    )
    if after is not None:
        query = query.where(AuditEntry.id > after)
    if until is not None:
        query = query.where(AuditEntry.id <= until)
    return list(query.order_by(AuditEntry.id).limit(limit).dicts())


def newest_row() -> int:
    """The highest id of the log, 0 when it is empty."""
    return int(AuditEntry.select(pw.fn.MAX(AuditEntry.id)).scalar() or 0)


def sealed(after: int, limit: int) -> list[Link]:
    """The links after that number, in order."""
    return _links(AuditSeal.seq > after, limit)


def numbered(numbers: Collection[int]) -> dict[int, Link]:
    """The links of these numbers that there are."""
    return {link[0]: link for link in _links(AuditSeal.seq.in_(list(numbers)), len(numbers))}


def _links(which: Any, limit: int) -> list[Link]:
    query = (
        AuditSeal.select(AuditSeal.seq, AuditSeal.audit_id, AuditSeal.mac, *_OF_ROW)
        .join(AuditEntry, pw.JOIN.LEFT_OUTER, on=(AuditSeal.audit_id == AuditEntry.id))
        .where(which)
        .order_by(AuditSeal.seq)
        .limit(limit)
    )
    names = [field.name for field in _OF_ROW]
    return [
        (int(seq), int(audit_id), bytes(mac), None if values[0] is None else dict(zip(names, values, strict=True)))
        for seq, audit_id, mac, *values in query.tuples()
    ]


def repeated_signatures() -> Iterator[tuple[int, int]]:
    """Rows that are copies of others: the id of the first with the same signature, and of the copy."""
    first = (
        AuditEntry.select(AuditEntry.signature, pw.fn.MIN(AuditEntry.id).alias("first"))
        .where(AuditEntry.signature.is_null(False))
        .group_by(AuditEntry.signature)
        .having(pw.fn.COUNT(AuditEntry.id) > 1)
        .tuples()
    )
    for signature, original in list(first):
        copies = AuditEntry.select(AuditEntry.id).where(AuditEntry.signature == signature, AuditEntry.id != original)
        for (copy,) in copies.order_by(AuditEntry.id).tuples():
            yield int(original), int(copy)
