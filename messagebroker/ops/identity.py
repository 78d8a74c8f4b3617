"""Who a certificate stands for: its one `urn:messagebroker:` URI, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from messagebroker import roles
from messagebroker.errors import Refused
from messagebroker.ops.names import is_name

Kind = Literal["client", "component"]

PREFIX = "urn:messagebroker:"
POLICY_SIGNER = "policy"
"""The component that signs policy snapshots; its certificate is of no use in TLS."""

COMPONENTS = frozenset({*roles.NAMES, "monitoring", POLICY_SIGNER})
"""The only names that components have, and that clients cannot have."""


@dataclass(frozen=True)
class Peer:
    """The holder of a certificate that the CA signed."""

    kind: Kind
    name: str
    serial: str  # lower-case hex without 0x, as in the policy and the database
    not_before: datetime
    not_after: datetime
    fingerprint: str  # SHA-256 of the certificate, hex


def uri_of(kind: Kind, name: str) -> str:
    """The URI that a certificate for this holder carries."""
    return f"{PREFIX}{kind}:{name}"


def check_name(kind: str, name: str) -> Kind:
    """The kind, when a holder of that kind may have that name.

    Raises:
        Refused: the name is malformed, a client's is one of a component, or a component's is not known.
    """
    if not is_name(name):
        raise Refused(f"{name!r} is no name: up to 63 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit")
    if kind == "component":
        if name not in COMPONENTS:
            raise Refused(f"there is no component {name!r}; components are {', '.join(sorted(COMPONENTS))}")
        return "component"
    if kind != "client":
        raise Refused(f"{kind!r} is no kind of certificate; it is client or component")
    if name in COMPONENTS:
        raise Refused(f"{name!r} is the name of a component; a client needs another one")
    return "client"


def peer_of(der: bytes) -> Peer:
    """Whom a certificate stands for. Its signature was checked before, by TLS.

    Raises:
        Refused: it does not carry exactly one `urn:messagebroker:` URI, or its CN does not match it.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        return peer_of_certificate(certificate)
    except (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise Refused(f"the certificate cannot be read: {error}") from error


def peer_of_certificate(certificate: x509.Certificate) -> Peer:
    """The same, of a certificate that is already parsed."""
    kind, name = _holder(certificate)
    return Peer(
        kind=kind,
        name=name,
        serial=serial_of(certificate),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(SHA256()).hex(),
    )


def serial_of(certificate: x509.Certificate) -> str:
    """Its serial number as this system writes it everywhere."""
    return f"{certificate.serial_number:x}"


def _holder(certificate: x509.Certificate) -> tuple[Kind, str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise Refused("the certificate has no subject alternative name, so it names nobody here") from error
    ours = [uri for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if uri.lower().startswith(PREFIX)]
    if len(ours) != 1:
        raise Refused(f"the certificate has {len(ours)} {PREFIX} URIs; exactly one is needed")
    parts = ours[0].split(":")
    if len(parts) != 4 or not ours[0].startswith(PREFIX):
        raise Refused(f"{ours[0]!r} is not {PREFIX}client:NAME or {PREFIX}component:ROLE")
    kind = check_name(parts[2], parts[3])
    common_names = [attribute.value for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if common_names != [parts[3]]:
        raise Refused(f"the certificate's CN is not {parts[3]!r}, as its URI says")
    return kind, parts[3]
