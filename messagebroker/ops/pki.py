"""Making certificates: one CA, keys of its own ECDSA P-256. Nothing here knows files, settings or the database."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from messagebroker.errors import ConfigurationError, Refused
from messagebroker.ops import clock
from messagebroker.ops.identity import POLICY_SIGNER, Kind, check_name, uri_of

CA_DAYS = 3650
LEAF_DAYS = 365
CRL_DAYS = 7
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
"""What certificates are made for; our own keys are ECDSA."""

_BACKDATED = timedelta(minutes=5)  # for machines whose clock is a little behind
_DOMAIN = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def parse(cls, certificate_pem: bytes, key_pem: bytes) -> Pair:
        """From PEM.

        Raises:
            ConfigurationError: one of them cannot be read, or they do not belong together.
        """
        certificate, key = load_certificate(certificate_pem), load_key(key_pem)
        if public_bytes(certificate.public_key()) != public_bytes(key.public_key()):
            raise ConfigurationError("the private key does not belong to the certificate")
        return cls(certificate, key)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as files hold it."""
        return certificate_pem(self.certificate)

    @property
    def key_pem(self) -> bytes:
        """The private key as files hold it (unencrypted PKCS #8)."""
        return key_pem(self.key)


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """A certificate in PEM."""
    return certificate.public_bytes(Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key in PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def load_certificate(pem: bytes) -> x509.Certificate:
    """The first certificate of a PEM file."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except (ValueError, x509.InvalidVersion) as error:
        raise ConfigurationError(f"this is no certificate in PEM: {error}") from error


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """An unencrypted P-256 key."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"this is no unencrypted private key in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigurationError("the private key is not an ECDSA key")
    return key


def public_bytes(key: object) -> bytes:
    """A public key in DER, to compare."""
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ConfigurationError("the certificate's key is not an ECDSA key")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def has_key(certificate_pem: bytes, key: PublicKey) -> bool:
    """Whether a certificate is for this key."""
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return load_certificate(certificate_pem).public_key().public_bytes(*form) == key.public_bytes(*form)


def make_ca(key: ec.EllipticCurvePrivateKey, organisation: str) -> Pair:
    """A self-signed CA that may sign holders' certificates and CRLs, and no other CA."""
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # the identifier's first bytes keep two CAs of one organisation apart, for people and for OpenSSL
    name = _name(f"Message Broker CA {identifier.digest.hex()[:8]}", organisation)
    now = clock.now()
    builder = (
        _builder(name, name, key.public_key(), now, now + timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
    )
    return Pair(builder.sign(key, SHA256()), key)


def make_certificate(
    ca: Pair,
    kind: Kind,
    name: str,
    public_key: PublicKey,
    *,
    domains: Iterable[str] = (),
    days: int = LEAF_DAYS,
) -> x509.Certificate:
    """A certificate for one holder; it ends with the CA at the latest.

    Raises:
        Refused: no such holder can be, or a domain or the number of days is wrong.
    """
    check_name(kind, name)
    if days < 1:
        raise Refused("a certificate is valid for at least one day")
    now = clock.now()
    ends = ca.certificate.not_valid_after_utc
    if ends <= now:
        raise Refused(f"the CA ended on {ends:%Y-%m-%d}; a new CA is needed")
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri_of(kind, name)), *map(_general_name, domains)]
    builder = (
        _builder(_name(name), ca.certificate.subject, public_key, now, min(now + timedelta(days=days), ends))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_purposes(kind, name)), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_authority(ca.certificate), critical=False)
    )
    return builder.sign(ca.key, SHA256())


def make_crl(ca: Pair, revoked: Iterable[tuple[str, datetime]], number: int) -> bytes:
    """The list of revoked serials (hex) with their times, as PEM, for systems that want one; ours read the policy."""
    now = clock.now()
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(now)
        .next_update(now + timedelta(days=CRL_DAYS))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_authority(ca.certificate), critical=False)
    )
    for serial, moment in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(moment).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(ca.key, SHA256()).public_bytes(Encoding.PEM)


def check_signed_by(ca: x509.Certificate, certificate: x509.Certificate) -> None:
    """Whether the CA issued a certificate.

    Raises:
        Refused: it did not.
    """
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise Refused("the certificate was not issued by this CA") from error


def domains_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Host names and addresses that a certificate is good for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def normal_domains(domains: Iterable[str]) -> tuple[str, ...]:
    """Host names and addresses as `domains_of` tells them, each once.

    Raises:
        Refused: one is neither.
    """
    return tuple(dict.fromkeys(str(_general_name(domain).value) for domain in domains))


def _purposes(kind: Kind, name: str) -> list[x509.ObjectIdentifier]:
    if name == POLICY_SIGNER:
        return [ExtendedKeyUsageOID.CODE_SIGNING]  # of no use in TLS
    if kind == "client":
        return [ExtendedKeyUsageOID.CLIENT_AUTH]
    return [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


def _general_name(domain: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(domain))
    except ValueError:
        pass
    try:
        text = domain.lower() if domain.isascii() else domain.encode("idna").decode()
    except UnicodeError:
        text = ""
    if len(text) > 253 or not _DOMAIN.fullmatch(text):
        raise Refused(f"{domain!r} is neither a host name nor an IP address")
    return x509.DNSName(text)


def _name(common_name: str, organisation: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organisation:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation[:64]))
    return x509.Name(attributes)


def _builder(subject: x509.Name, issuer: x509.Name, key: PublicKey, now: datetime, end: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(end)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
