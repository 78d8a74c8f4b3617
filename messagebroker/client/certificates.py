"""Certificates of clients: issued for a signing request, renewed, revoked, listed."""

from __future__ import annotations

from datetime import datetime

import httpx
from msgspec import UNSET, Struct, UnsetType, field

from messagebroker.client.answers import IssuedCertificate
from messagebroker.client.calls import Call, reader
from messagebroker.client.clients import Revoked
from messagebroker.client.methods import Method
from messagebroker.client.requests import NOBODY, Caller, Page, get, send, under

CERTIFICATES = "/api/v1/certificates"


class Certificate(Struct, frozen=True, kw_only=True):
    """A certificate of the CA. The last three are None, or empty, in a list."""

    serial: str
    kind: str
    name: str
    status: str  # "valid", "expired" or "revoked"
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None = None
    revoked_reason: str | None = None
    domains: list[str] = field(default_factory=list)
    fingerprint_sha256: str | None = None
    certificate: str | None = None  # PEM


class Bundle(IssuedCertificate, frozen=True, kw_only=True):
    """With a private key that is shown once and kept nowhere."""

    private_key: str

    def __repr__(self) -> str:
        return f"Bundle(serial={self.serial!r}, name={self.name!r})"  # never the key itself


def page(
    caller: Caller,
    *,
    name: str | None = None,
    ends_after: datetime | None = None,
    ends_before: datetime | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Call[Page[Certificate]]:
    """A part of the list, by serial; of one `name`; or by their end, soonest first."""
    ends = {"ends_after": ends_after, "ends_before": ends_before}
    return get(caller, CERTIFICATES, _PAGE, name=name, **ends, limit=limit, cursor=cursor)


def issue(caller: Caller, name: str, csr: str, days: int | UnsetType = UNSET) -> Call[IssuedCertificate]:
    """For a signing request in PEM; the key stays where it was made."""
    return send(caller, "POST", CERTIFICATES, _ISSUED, {"name": name, "csr": csr, "days": days})


def issue_bundle(caller: Caller, name: str, days: int | UnsetType = UNSET) -> Call[Bundle]:
    """With a key that main makes, for who cannot make one."""
    return send(caller, "POST", under(CERTIFICATES, "bundle"), _BUNDLE, {"name": name, "days": days})


def one(caller: Caller, serial: str) -> Call[Certificate]:
    """One certificate, whole."""
    return get(caller, under(CERTIFICATES, serial), _CERTIFICATE)


def renew(caller: Caller, serial: str, csr: str, days: int | UnsetType = UNSET) -> Call[IssuedCertificate]:
    """The next one for the same client; the earlier one stays valid."""
    return send(caller, "POST", under(CERTIFICATES, serial, "renew"), _ISSUED, {"csr": csr, "days": days})


def revoke(caller: Caller, serial: str, reason: str | UnsetType = UNSET) -> Call[Revoked]:
    """The servers were told when it answers."""
    return send(caller, "POST", under(CERTIFICATES, serial, "revoke"), _REVOKED, {"reason": reason})


def authority(*, caller: Caller = NOBODY) -> Call[str]:
    """The CA's own certificate, in PEM."""
    return get(caller, "/api/v1/ca.crt", _text)


def revocation_list(*, caller: Caller = NOBODY) -> Call[str]:
    """What is revoked, signed by the CA, in PEM."""
    return get(caller, "/api/v1/crl", _text)


def _text(response: httpx.Response) -> str:
    return response.text


class CertificateMethods:
    """Of the clients."""

    certificates = Method(page)
    issue_certificate = Method(issue)
    issue_bundle = Method(issue_bundle)
    certificate = Method(one)
    renew_certificate = Method(renew)
    revoke_certificate = Method(revoke)
    ca_certificate = Method(authority)
    revocation_list = Method(revocation_list)


_PAGE = reader(Page[Certificate])
_CERTIFICATE = reader(Certificate)
_ISSUED = reader(IssuedCertificate)
_BUNDLE = reader(Bundle)
_REVOKED = reader(Revoked)
