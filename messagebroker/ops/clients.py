"""Registered senders as the API lists them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import peewee as pw

from messagebroker.db.connection import connected
from messagebroker.db.models import Certificate, Client


@dataclass(frozen=True, kw_only=True)
class ClientEntry:
    """A client, and when its newest certificate that is not revoked ends."""

    name: str
    owner: str | None
    default_topic: str
    topics: list[str] | None
    rate: int | None
    max_batch: int | None
    created_at: datetime
    disabled_at: datetime | None
    certificate_ends: datetime | None


def page(*, limit: int, after: str | None = None) -> list[ClientEntry]:
    """Up to `limit` clients by name, those that come after `after`."""
    query = Client.select().order_by(Client.name).limit(limit)
    if after is not None:
        query = query.where(Client.name > after)
    with connected():
        rows = list(query)
        ends = _certificate_ends([row.name for row in rows])
    return [_entry(row, ends.get(row.name)) for row in rows]


def _certificate_ends(names: list[str]) -> dict[str, datetime]:
    newest = pw.fn.MAX(Certificate.not_after).converter(Certificate.not_after.python_value)
    query = (
        Certificate.select(Certificate.name, newest.alias("ends"))
        .where(Certificate.name.in_(names) & (Certificate.kind == "client") & Certificate.revoked_at.is_null())
        .group_by(Certificate.name)
    )
    rows: Any = query.tuples()
    return dict(rows) if names else {}


def _entry(row: Client, ends: datetime | None) -> ClientEntry:
    return ClientEntry(
        name=row.name,
        owner=row.owner,
        default_topic=row.default_topic,
        topics=None if row.topics is None else msgspec.json.decode(row.topics, type=list[str]),
        rate=row.rate,
        max_batch=row.max_batch,
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        certificate_ends=ends,
    )
