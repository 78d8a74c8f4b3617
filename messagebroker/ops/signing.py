"""Signing for keys that their holders made: the way a certificate is issued without its key ever being here."""

from __future__ import annotations

from collections.abc import Iterable

from messagebroker.errors import Refused
from messagebroker.ops import csr, pki
from messagebroker.ops.ca_folder import CaFolder, Issued
from messagebroker.ops.identity import POLICY_SIGNER, Kind, check_name
from messagebroker.settings import Settings

_HERE = ("localhost", "127.0.0.1", "::1")
_NO_FILE_NAMES = frozenset({"ca", "con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(10))})
"""`ca.crt` is the CA's; the others are devices on Windows, with any ending."""


def check_holder(kind: str, name: str) -> Kind:
    """The kind, when certificates are issued to such a holder by that name.

    Raises:
        Refused: they are not.
    """
    holder = check_name(kind, name)
    if name.split(".")[0] in _NO_FILE_NAMES or name == POLICY_SIGNER:
        raise Refused(f"{name!r} is reserved; choose another name")
    return holder


def domains_for(settings: Settings, kind: Kind, domains: Iterable[str]) -> tuple[str, ...]:
    """What a new certificate is good for: a component's always for this machine and PRIMARY_DOMAIN."""
    return tuple(dict.fromkeys((*_HERE, settings.primary_domain, *domains)) if kind == "component" else domains)


def sign_request(
    settings: Settings,
    name: str,
    csr_pem: bytes,
    days: int = pki.LEAF_DAYS,
    kind: str = "client",
    *,
    domains: Iterable[str] = (),
) -> Issued:
    """A certificate for the key of a signing request; recorded in the CA's folder, and nowhere else yet.

    Of the request only the key counts. Its subject and extensions are not looked at: identity comes from who asks.

    Raises:
        WrongRequest: it is damaged, not signed by its own key, or the key is not of a kind that is taken.
        Refused: no such holder can be, or a domain or the number of days is wrong.
    """
    holder = check_holder(kind, name)
    key = csr.public_key_of(csr_pem, ecdsa_only=holder == "component")
    folder = CaFolder(settings)
    return folder.record(pki.make_certificate(folder.ca, holder, name, key, domains=domains, days=days))
