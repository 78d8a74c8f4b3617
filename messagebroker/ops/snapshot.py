"""The policy snapshot: what every server must know about clients and revocations, signed so that Redis need not be trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from messagebroker.errors import BrokerError, Refused
from messagebroker.ops import pki
from messagebroker.ops.identity import POLICY_SIGNER, peer_of_certificate

_PURPOSE = b"messagebroker policy 1\n"  # a signature made for anything else is none here
_ALGORITHM = ec.ECDSA(SHA256())


@dataclass(frozen=True)
class ClientPolicy:
    """What a proxy knows about one client."""

    name: str
    default_topic: str
    topics: tuple[str, ...] | None  # None: every topic
    rate: int | None  # messages a second; None: no limit
    max_batch: int | None  # items; None: the system's limit
    disabled: bool


class TopicPolicy(msgspec.Struct, array_like=True, frozen=True):
    """What a proxy knows about one topic of the catalogue."""

    schema: str | None = None  # JSON Schema that bodies must match, as `schemas.checked` gave it
    deprecated: bool = False


@dataclass(frozen=True)
class Policy:
    """One numbered snapshot. A higher number replaces a lower one, never the other way round."""

    number: int
    issued_at: datetime
    revoked: frozenset[str]  # serials, lower-case hex
    clients: dict[str, ClientPolicy]
    master_key_id: bytes  # 8
    master_public_key: bytes  # 32, raw X25519
    maintenance: bool
    topics: dict[str, TopicPolicy] = field(default_factory=dict)  # those with a schema, and deprecated ones

    @property
    def content(self) -> tuple[object, ...]:
        """All but number and time: what makes publishing worth while when it differs."""
        return (self.revoked, self.clients, self.master_key_id, self.master_public_key, self.maintenance, self.topics)


class _Signed(msgspec.Struct, frozen=True):
    body: bytes  # a Policy in JSON
    signature: bytes
    certificate: str  # of the signer, PEM


def sign(policy: Policy, signer: pki.Pair) -> bytes:
    """The snapshot as Redis and disks hold it."""
    body = msgspec.json.encode(policy)
    signature = signer.key.sign(_PURPOSE + body, _ALGORITHM)
    return msgspec.json.encode(_Signed(body, signature, signer.certificate_pem.decode()))


def verify(data: bytes, ca: x509.Certificate, *, revoked: frozenset[str] = frozenset()) -> Policy:
    """The policy in a snapshot.

    The signer's certificate must have been valid when it signed, not now: an installation that nobody changed for
    a year goes on. `revoked` is what the caller knows to be revoked already: a revoked signer cannot say otherwise.

    Raises:
        Refused: it is damaged, was changed, or was not signed by this CA's policy signer.
    """
    try:
        signed = msgspec.json.decode(data, type=_Signed)
        certificate = pki.load_certificate(signed.certificate.encode())
        _check_signature(signed, certificate, ca)
        policy = msgspec.json.decode(signed.body, type=Policy)
        _check_signer(policy, certificate, revoked)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BrokerError) as error:
        raise Refused(f"a policy snapshot is refused: {error}") from error
    return policy


def _check_signature(signed: _Signed, certificate: x509.Certificate, ca: x509.Certificate) -> None:
    pki.check_signed_by(ca, certificate)
    signer = peer_of_certificate(certificate)
    if (signer.kind, signer.name) != ("component", POLICY_SIGNER):
        raise Refused(f"{signer.kind}:{signer.name} does not sign policies")
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Refused("its signer has no ECDSA key")
    try:
        key.verify(signed.signature, _PURPOSE + signed.body, _ALGORITHM)
    except InvalidSignature as error:
        raise Refused("its signature does not match: it was changed on the way") from error


def _check_signer(policy: Policy, certificate: x509.Certificate, revoked: frozenset[str]) -> None:
    signer = peer_of_certificate(certificate)
    if signer.serial in revoked or signer.serial in policy.revoked:
        raise Refused("its signer was revoked")
    if policy.issued_at.tzinfo is None or not signer.not_before <= policy.issued_at <= signer.not_after:
        raise Refused("its signer was not valid when it signed")
    if policy.number < 1 or len(policy.master_key_id) != 8 or len(policy.master_public_key) != 32:
        raise Refused("its number or master key is out of range")
