"""Certificates as the API shows them and takes requests for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from messagebroker.http.main.client_views import ClientName, fields_named
from messagebroker.http.problems import Problem
from messagebroker.ops.ca_folder import Issued
from messagebroker.ops.certificate_orders import NotTheirs, Ordered, TooMany
from messagebroker.ops.certificate_revocations import NotPublished
from messagebroker.ops.csr import MAX_BYTES
from messagebroker.ops.pki import LEAF_DAYS

Serial = Annotated[str, Meta(pattern=r"^[0-9a-f]{1,40}$(?!\n)")]
Csr = Annotated[str, Meta(min_length=1, max_length=MAX_BYTES, description="A PKCS #10 signing request in PEM.")]
Days = Annotated[int, Meta(ge=1, le=LEAF_DAYS)]
Reason = Annotated[str, Meta(max_length=200)]


class CertificateRow(Struct, kw_only=True):
    """A certificate of the list."""

    serial: str
    kind: str
    name: str
    status: Literal["valid", "revoked", "expired"]
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None
    revoked_reason: str | None


class CertificateView(CertificateRow, kw_only=True):
    """A certificate, whole."""

    domains: list[str]
    fingerprint_sha256: str
    certificate: str  # PEM


class IssuedView(Struct, kw_only=True):
    """A new certificate and the CA's, in PEM."""

    serial: str
    name: str
    not_before: datetime
    not_after: datetime
    certificate: str
    ca: str


class BundleView(IssuedView, kw_only=True):
    """The same with a private key that exists nowhere else: it cannot be asked for again."""

    private_key: str

    def __repr__(self) -> str:
        return f"BundleView({self.serial})"  # never the key


class CertificateOrder(Struct, forbid_unknown_fields=True, kw_only=True):
    """For a key that the client made: of the request only the key counts."""

    name: ClientName
    csr: Csr
    days: Days = LEAF_DAYS


class BundleOrder(Struct, forbid_unknown_fields=True, kw_only=True):
    """For a client that cannot make its key."""

    name: ClientName
    days: Days = LEAF_DAYS


class RenewalOrder(Struct, forbid_unknown_fields=True, kw_only=True):
    """For the holder of a certificate."""

    csr: Csr
    days: Days = LEAF_DAYS


class RevocationOrder(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why, for the record."""

    reason: Reason = ""


class RevokedView(Struct, kw_only=True):
    """What was revoked; the servers know since the policy of this number."""

    serials: list[str]
    policy_number: int


def view_of(issued: Issued) -> CertificateView:
    """All of it."""
    return CertificateView(
        serial=issued.serial,
        kind=issued.kind,
        name=issued.name,
        status=issued.status,
        not_before=issued.not_before,
        not_after=issued.not_after,
        revoked_at=issued.revoked_at,
        revoked_reason=issued.revoked_reason,
        domains=list(issued.domains),
        fingerprint_sha256=issued.fingerprint,
        certificate=issued.pem,
    )


def issued_view(ordered: Ordered) -> IssuedView:
    """What whoever ordered it gets; with the key when it was made here."""
    issued = ordered.issued
    plain = IssuedView(
        serial=issued.serial,
        name=issued.name,
        not_before=issued.not_before,
        not_after=issued.not_after,
        certificate=issued.pem,
        ca=ordered.ca_pem,
    )
    if ordered.key_pem is None:
        return plain
    return BundleView(**msgspec.structs.asdict(plain), private_key=ordered.key_pem)


@contextmanager
def orders_answered() -> Iterator[None]:
    """What can go wrong with an order, as problems."""
    try:
        with fields_named():
            yield
    except TooMany as error:
        raise Problem(429, "too-many-certificates", str(error), headers={"Retry-After": "3600"}) from None
    except NotTheirs as error:
        raise Problem(403, "renewal-refused", str(error)) from None
    except NotPublished as error:
        raise Problem(503, "revoked-not-published", str(error), headers={"Retry-After": "2"}, serials=error.serials) from None
