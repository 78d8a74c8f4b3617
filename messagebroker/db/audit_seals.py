"""Statements over the audit log and its seals, each short and on an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import peewee as pw

from messagebroker.db import models
from messagebroker.db.connection import is_mysql

AuditEntry: Any = models.AuditEntry  # the stubs of peewee know no columns
AuditSeal: Any = models.AuditSeal

Row = dict[str, Any]
_OF_ROW = [
    AuditEntry.id, AuditEntry.created_at, AuditEntry.actor, AuditEntry.action, AuditEntry.object_type, AuditEntry.object_id,
    AuditEntry.address, AuditEntry.user_agent, AuditEntry.details, AuditEntry.signature,
]  # fmt: skip


def last_seal(*, locked: bool = False) -> tuple[int, bytes] | None:
    """Number and link of the last one. `locked`: nobody else adds one before this transaction ends, or fails."""
    query = AuditSeal.select(AuditSeal.seq, AuditSeal.mac).order_by(AuditSeal.seq.desc()).limit(1).tuples()
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


def unsealed(after: int, until: int | None, limit: int) -> list[Row]:
    """Rows without a seal with ids in (after, until], the lowest first."""
    query = (
        AuditEntry.select(*_OF_ROW)
        .join(AuditSeal, pw.JOIN.LEFT_OUTER, on=(AuditSeal.audit_id == AuditEntry.id))
        .where(AuditSeal.seq.is_null(), AuditEntry.id > after)
    )
    if until is not None:
        query = query.where(AuditEntry.id <= until)
    return list(query.order_by(AuditEntry.id).limit(limit).dicts())


def id_range() -> tuple[int, int]:
    """The lowest and the highest id of the log; (0, 0) when it is empty."""
    found = AuditEntry.select(pw.fn.MIN(AuditEntry.id), pw.fn.MAX(AuditEntry.id)).tuples()
    low, high = next(iter(found))
    return int(low or 0), int(high or 0)


def sealed(after: int, limit: int) -> list[tuple[int, int, bytes, Row | None]]:
    """Number, row's id, link and row (None: it is gone) of the seals after that number, in order."""
    query = (
        AuditSeal.select(AuditSeal.seq, AuditSeal.audit_id, AuditSeal.mac, *_OF_ROW)
        .join(AuditEntry, pw.JOIN.LEFT_OUTER, on=(AuditSeal.audit_id == AuditEntry.id))
        .where(AuditSeal.seq > after)
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
