"""The database's view of certificates and clients: a mirror of the CA's folder, and what main's API reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import peewee as pw

from messagebroker.db.connection import connected, database, is_outage, open_database, unavailable
from messagebroker.db.models import Certificate, Client, Topic
from messagebroker.errors import Unavailable
from messagebroker.ops import clock, pki
from messagebroker.ops.ca_folder import Issued, Revocation, describe
from messagebroker.ops.changes import change, locked
from messagebroker.ops.identity import Kind
from messagebroker.ops.names import is_name
from messagebroker.ops.snapshot import ClientPolicy, TopicPolicy
from messagebroker.settings import Settings


@contextmanager
def session(settings: Settings) -> Iterator[None]:
    """A connection for the block; the caller's own when this thread has one open.

    Raises:
        Unavailable: the database does not answer, or was not upgraded yet.
    """
    if database.obj is None:
        open_database(settings)
    if not database.is_closed():
        try:
            yield
        except pw.PeeweeException as error:
            if not is_outage(error):
                raise
            raise unavailable(error) from error
        return
    with connected():
        if not database.table_exists(Certificate._meta.table_name):
            raise Unavailable("the database has no tables yet; run `messagebroker db upgrade`")
        yield


@contextmanager
def alone(settings: Settings, kind: Kind, name: str) -> Iterator[None]:
    """A transaction in which nobody else orders or revokes certificates of this client: no renewal escapes a revocation."""
    with session(settings), change():
        if kind == "client" and is_name(name):  # other letters are an error on MySQL
            locked(Client.select(Client.name).where(Client.name == name)).first()
        yield


def register(issued: Issued) -> None:
    """Adds a certificate, and its client when nobody of that name is registered."""
    with database.atomic():
        Certificate.insert(
            serial=issued.serial,
            name=issued.name,
            kind=issued.kind,
            not_before=issued.not_before,
            not_after=issued.not_after,
            pem=issued.pem,
        ).on_conflict_ignore().execute()  # another process may register the same folder
        if issued.kind == "client" and not Client.select().where(Client.name == issued.name).exists():
            Client.insert(name=issued.name, created_at=clock.now()).on_conflict_ignore().execute()


def revoke(serial: str, revocation: Revocation) -> None:
    """Marks a certificate as revoked; the first reason stays."""
    Certificate.update(revoked_at=revocation.at, revoked_reason=revocation.reason[:200]).where(
        (Certificate.serial == serial) & Certificate.revoked_at.is_null()
    ).execute()


def serials() -> dict[str, bool]:
    """Every registered serial, and whether it is revoked."""
    return {row.serial: row.revoked_at is not None for row in Certificate.select(Certificate.serial, Certificate.revoked_at)}


def certificates() -> dict[str, Issued]:
    """Every row, by serial."""
    return {row.serial: _issued(row) for row in Certificate.select()}


def certificates_of(kind: str, name: str) -> list[Issued]:
    """Every row of one holder, oldest first."""
    rows = Certificate.select().where((Certificate.name == name) & (Certificate.kind == kind))
    return sorted((_issued(row) for row in rows), key=lambda one: (one.not_before, one.serial))


def certificate(serial: str) -> Issued | None:
    """One row; None when there is none."""
    row = Certificate.get_or_none(Certificate.serial == serial)
    return None if row is None or row.serial != serial else _issued(row)


def _issued(row: Certificate) -> Issued:
    issued = describe(pki.load_certificate(row.pem.encode()))
    return replace(issued, revoked_at=row.revoked_at, revoked_reason=row.revoked_reason)


def revoked_serials() -> frozenset[str]:
    """Of certificates that have not ended: an expired one is refused anyway."""
    query = Certificate.select(Certificate.serial).where(
        Certificate.revoked_at.is_null(False) & (Certificate.not_after > clock.now())
    )
    return frozenset(row.serial for row in query)


def expired_among(serials: frozenset[str]) -> frozenset[str]:
    """Those whose certificates have ended."""
    query = Certificate.select(Certificate.serial).where(
        Certificate.serial.in_(sorted(serials)) & (Certificate.not_after <= clock.now())
    )
    return frozenset(row.serial for row in query)


def valid_among(serials: frozenset[str]) -> bool:
    """Whether the table has one of them as not revoked (after an old backup was restored)."""
    return bool(Certificate.select().where(Certificate.serial.in_(sorted(serials)) & Certificate.revoked_at.is_null()).exists())


def revoke_all(serials: frozenset[str], reason: str) -> int:
    """Marks rows as revoked that are not yet; how many."""
    return int(
        Certificate.update(revoked_at=clock.now(), revoked_reason=reason)
        .where(Certificate.serial.in_(sorted(serials)) & Certificate.revoked_at.is_null())
        .execute()
    )


def refusal_of_client(name: str) -> str | None:
    """Why this client may not come in: `unknown-client` or `disabled`."""
    row = Client.get_or_none(Client.name == name)
    if row is None:
        return "unknown-client"
    return "disabled" if row.disabled_at is not None else None


def client_policies() -> dict[str, ClientPolicy]:
    """Every client as proxies see it."""
    columns = (Client.name, Client.default_topic, Client.topics, Client.rate, Client.max_batch, Client.disabled_at)
    rows: Any = Client.select(*columns).tuples()  # main compares thousands of clients every few seconds
    return {row[0]: _policy_of(*row) for row in rows}


def topic_policies() -> dict[str, TopicPolicy]:
    """The topics that proxies must know: those with a schema, and deprecated ones."""
    if not database.table_exists(Topic._meta.table_name):
        return {}  # a revocation gets through before `db upgrade`, too
    special = Topic.schema.is_null(False) | Topic.deprecated_at.is_null(False)
    rows: Any = Topic.select(Topic.name, Topic.schema, Topic.deprecated_at).where(special).tuples()
    return {name: TopicPolicy(schema, deprecated_at is not None) for name, schema, deprecated_at in rows}


def _policy_of(
    name: str, default_topic: str, topics: str | None, rate: int | None, max_batch: int | None, disabled_at: datetime | None
) -> ClientPolicy:
    return ClientPolicy(
        name=name,
        default_topic=default_topic,
        topics=None if topics is None else msgspec.json.decode(topics, type=tuple[str, ...]),
        rate=rate,
        max_batch=max_batch,
        disabled=disabled_at is not None,
    )
