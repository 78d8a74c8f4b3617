"""Certificates as the API lists them: pages from the database, each filter on an index."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from messagebroker.db.models import Certificate
from messagebroker.errors import NotFound
from messagebroker.ops import clock, cursors, registry
from messagebroker.ops.ca_folder import CaFolder, Issued, Status, is_serial
from messagebroker.ops.clients import Unindexed
from messagebroker.settings import Settings


@dataclass(frozen=True, kw_only=True)
class CertificateEntry:
    """A row without the certificate itself."""

    serial: str
    kind: str
    name: str
    not_before: datetime
    not_after: datetime
    status: Status
    revoked_at: datetime | None
    revoked_reason: str | None


@dataclass(frozen=True, kw_only=True)
class CertificateFilter:
    """By serial; of one holder by serial; or by their end, soonest first."""

    name: str | None = None
    ends_after: datetime | None = None
    ends_before: datetime | None = None

    @property
    def by_end(self) -> bool:
        """Whether the order is that of the ends."""
        return self.ends_after is not None or self.ends_before is not None


def page(
    settings: Settings, wanted: CertificateFilter, *, limit: int, cursor: str | None
) -> tuple[list[CertificateEntry], str | None]:
    """A page, and the cursor of the next one.

    Raises:
        Unindexed: a name and an end together.
        WrongCursor: the cursor is not of such a list.
    """
    if wanted.by_end and wanted.name is not None:
        raise Unindexed("name and ends_after or ends_before together have no index; give one or the other")
    query = Certificate.select(Certificate.serial).limit(limit + 1)  # of an index alone; MySQL would else rather sort
    if wanted.name is not None:
        query = query.where(Certificate.name == wanted.name)
    if wanted.ends_after is not None:
        query = query.where(Certificate.not_after >= wanted.ends_after)
    if wanted.ends_before is not None:
        query = query.where(Certificate.not_after < wanted.ends_before)
    order = (Certificate.not_after, Certificate.serial) if wanted.by_end else (Certificate.serial,)
    query = query.order_by(*order)
    if cursor is not None:
        query = query.where(_after(cursor, wanted))
    with registry.session(settings):
        serials = [row.serial for row in query]
        rows = list(Certificate.select().where(Certificate.serial.in_(serials)).order_by(*order)) if serials else []
    more = len(rows) > limit
    found = [_entry(row) for row in rows[:limit]]
    return found, _cursor(found[-1], wanted) if more else None


def find(settings: Settings, serial: str) -> Issued:
    """One certificate, with what the CA's folder knows of its revocation.

    Raises:
        NotFound: nobody knows that serial.
    """
    if not is_serial(serial):
        raise NotFound("a serial is up to 40 hexadecimal digits, in small letters")
    known = CaFolder(settings).find(serial)
    if known is None or known.revoked_at is None:
        with registry.session(settings):
            known = registry.certificate(serial) or known
    if known is None:
        raise NotFound(f"there is no certificate with the serial {serial[:40]}")
    return known


def _after(cursor: str, wanted: CertificateFilter) -> object:
    text = cursors.read_name(cursor)
    if not wanted.by_end:
        return Certificate.serial > text
    moment, _, serial = text.partition(" ")
    if not moment.isascii() or not moment.isdigit() or len(moment) > 17:
        raise cursors.WrongCursor("this cursor belongs to another list; take the `next` of the page before")
    try:
        ends = clock.from_micros(int(moment))
    except OverflowError as error:
        raise cursors.WrongCursor("this cursor was not made here") from error
    # the first condition alone is the index range; the second passes over those of the same instant that were shown
    return (Certificate.not_after >= ends) & ((Certificate.not_after > ends) | (Certificate.serial > serial))


def _cursor(last: CertificateEntry, wanted: CertificateFilter) -> str:
    return cursors.of_name(f"{clock.micros(last.not_after)} {last.serial}" if wanted.by_end else last.serial)


def _entry(row: Certificate) -> CertificateEntry:
    ended: Status = "expired" if row.not_after <= clock.now() else "valid"
    return CertificateEntry(
        serial=row.serial,
        kind=row.kind,
        name=row.name,
        not_before=row.not_before,
        not_after=row.not_after,
        status="revoked" if row.revoked_at is not None else ended,
        revoked_at=row.revoked_at,
        revoked_reason=row.revoked_reason,
    )
