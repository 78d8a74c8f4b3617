"""Certificates as the API issues and renews them: in the CA's folder first, then the row together with its audit row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from messagebroker.db.models import Certificate, Client, User
from messagebroker.errors import Conflict, NotFound, Refused
from messagebroker.ops import audit, certificate_list, clock, csr, pki, registry
from messagebroker.ops.audit import Actor
from messagebroker.ops.ca_folder import CaFolder, Issued
from messagebroker.ops.client_access import owns
from messagebroker.ops.clients import row_of
from messagebroker.ops.identity import Kind
from messagebroker.ops.permissions import Permission, allows
from messagebroker.ops.signing import sign_request
from messagebroker.settings import Settings

MOST_A_DAY = 20
"""Certificates for one client or component at the wish of its owner or of itself: a loop somewhere must not fill the CA."""

_SAME_REQUEST = timedelta(hours=1)  # within it the same key gets the same certificate: an answer was lost on the way


class TooMany(Refused):
    """Enough certificates for one day."""


class NotTheirs(Refused):
    """The certificate that asks for a renewal cannot: revoked, ended, unknown, or somebody else's."""


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """A new certificate; `key_pem` only when the key was made here, and then nowhere else."""

    issued: Issued
    ca_pem: str
    key_pem: str | None = None

    def __repr__(self) -> str:
        return f"Ordered({self.issued.serial})"  # never the key


def issue(
    settings: Settings, name: str, actor: Actor, *, csr_pem: bytes | None, days: int, only_of: User | None = None
) -> Ordered:
    """A certificate for a registered client: for the key of a request, or with a key that is made here and kept nowhere.

    Args:
        settings: for the CA and the database.
        name: the client.
        actor: who asks, for the audit log.
        csr_pem: a signing request; None: with a key.
        days: how long it is valid.
        only_of: a person who may do so for their own clients alone.

    Raises:
        NotFound: there is no such client, or none that this person may see.
        Refused: they may see the client, but it is not theirs.
        Conflict: the client is disabled; or one of its certificates was revoked, none is valid, and its owner asks.
        TooMany: for today.
        WrongRequest: see `ops.csr`.
    """
    check = partial(_check_order, name, only_of)
    return _made(settings, "client", name, actor, "certificate.issue", check=check, csr_pem=csr_pem, days=days)


def renew(settings: Settings, serial: str, actor: Actor, *, csr_pem: bytes, days: int, only_of: User | None = None) -> Ordered:
    """A new certificate for the holder of one, with the same domains; that one stays valid until its end.

    Raises:
        NotFound: there is no such certificate of a client, or none that this person may see.
        Conflict: it was revoked, or as `issue`.
        Refused, TooMany, WrongRequest: as `issue`.
    """
    before = certificate_list.find(settings, serial)
    if before.kind != "client":
        raise NotFound("components renew their certificates themselves, and operators with `messagebroker certs renew`")

    def check() -> None:
        _check_order(before.name, only_of)
        if certificate_list.find(settings, serial).status == "revoked":
            raise Conflict("this certificate was revoked; if the client shall come back, issue it a new one")

    return _made(
        settings, "client", before.name, actor, "certificate.renew",
        check=check, csr_pem=csr_pem, days=days, domains=before.domains,
    )  # fmt: skip


def renew_presented(settings: Settings, kind: Kind, name: str, serial: str, csr_pem: bytes, actor: Actor) -> Ordered:
    """A new certificate for whoever presented the one with that serial: same name, same domains, valid for as long.

    The same key within the hour gets the same certificate again, so that an answer that was lost can be asked for again.

    Raises:
        NotTheirs: that certificate is not this holder's, was revoked, has ended or is not known, or the client is disabled.
        TooMany: for today.
        WrongRequest: see `ops.csr`.
    """
    try:
        before = certificate_list.find(settings, serial)
    except NotFound as error:
        raise NotTheirs("this certificate is not known here") from error
    if (before.kind, before.name) != (kind, name):
        raise NotTheirs(f"this certificate is not {kind}:{name}'s")
    key = csr.public_key_of(csr_pem, ecdsa_only=kind == "component")
    with registry.session(settings):
        _check_presented(settings, before)
        for one in registry.certificates_of(kind, name):
            if one.status == "valid" and _is_fresh(one) and pki.has_key(one.pem.encode(), key):
                return Ordered(issued=one, ca_pem=_ca_pem(settings))

    def check() -> None:
        _check_presented(settings, before)
        _check_number(kind, name)

    days = max(1, (before.not_after - before.not_before).days)
    return _made(
        settings, kind, name, actor, "certificate.renew", check=check, csr_pem=csr_pem, days=days, domains=before.domains
    )


def _made(
    settings: Settings,
    kind: Kind,
    name: str,
    actor: Actor,
    action: str,
    *,
    check: Callable[[], None],
    csr_pem: bytes | None,
    days: int,
    domains: tuple[str, ...] = (),
) -> Ordered:
    key = None
    if csr_pem is None:
        key = pki.new_key()
        csr_pem = csr.request_for(key, name)
    with registry.alone(settings, kind, name):
        check()
        issued = sign_request(settings, name, csr_pem, days, kind, domains=domains)
        registry.register(issued)
        details = {"holder": f"{kind}:{name}", "until": issued.not_after.isoformat(), "key_made_here": key is not None}
        audit.record_by(actor, action, "certificate", issued.serial, details)
    return Ordered(issued=issued, ca_pem=_ca_pem(settings), key_pem=pki.key_pem(key).decode() if key else None)


def _check_order(name: str, only_of: User | None) -> None:
    client = _client(name, only_of)
    if only_of is not None:
        _check_trusted(name)
        _check_number("client", name)
    if client.disabled_at is not None:
        raise Conflict(f"{name} is disabled; enable it first")


def _check_presented(settings: Settings, presented: Issued) -> None:
    status = certificate_list.find(settings, presented.serial).status
    if status != "valid":
        raise NotTheirs(f"this certificate is {status}; ask the operator for a new one")
    if presented.kind == "client" and not _may_send(presented.name):
        raise NotTheirs(f"the client {presented.name} is not registered, or disabled")


def _client(name: str, only_of: User | None) -> Client:
    """The client of an order. Who may read all clients is told whose it is not; to others it is not there."""
    if only_of is None:
        return row_of(name)
    row = row_of(name, only_of=None if allows(only_of.role, Permission.CLIENTS_READ) else only_of)
    if not owns(only_of, row):
        raise Refused(f"{name} is not your own client; its owner and administrators order certificates for it")
    return row


def _check_trusted(name: str) -> None:
    """A client whose certificates were revoked comes back by an administrator, not by its owner.

    One that is still valid shows that the client is trusted; one that has ended shows nothing, since nobody revokes it.
    """
    columns = (Certificate.revoked_at, Certificate.not_after)
    rows = list(Certificate.select(*columns).where(Certificate.name == name, Certificate.kind == "client"))
    is_trusted = any(row.revoked_at is None and row.not_after > clock.now() for row in rows)
    if not is_trusted and any(row.revoked_at is not None for row in rows):
        raise Conflict(f"certificates of {name} were revoked and none is valid; ask an administrator for a new one")


def _check_number(kind: Kind, name: str) -> None:
    since = clock.now() - timedelta(days=1)
    condition = (Certificate.name == name) & (Certificate.kind == kind) & (Certificate.not_before > since)
    if Certificate.select().where(condition).count() >= MOST_A_DAY:
        raise TooMany(f"{name} was given {MOST_A_DAY} certificates within a day; try again tomorrow")


def _may_send(name: str) -> bool:
    try:
        return row_of(name).disabled_at is None
    except NotFound:
        return False


def _is_fresh(one: Issued) -> bool:
    return clock.now() - one.not_before < _SAME_REQUEST


def _ca_pem(settings: Settings) -> str:
    return CaFolder(settings).ca.certificate_pem.decode()
