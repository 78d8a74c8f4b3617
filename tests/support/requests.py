"""Certificate signing requests, good ones and those of attackers."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def signing_request(
    key: Any = None, *, name: str = "whoever", uri: str | None = None, ca: bool = False, algorithm: Any = None
) -> bytes:
    """In PEM, for a fresh P-256 key unless one is given; it may ask for more than it gets."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    if uri is not None:
        names = [x509.UniformResourceIdentifier(uri), x509.DNSName("elsewhere.example")]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    if ca:
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING])
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=3), critical=True)
        builder = builder.add_extension(usages, critical=False)
    made = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), algorithm or SHA256())
    return made.public_bytes(Encoding.PEM)


def with_broken_signature(pem: bytes) -> bytes:
    """The same request, its last signature byte changed."""
    der = bytearray(x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)


def for_the_key_of(other: bytes, pem: bytes) -> bytes:
    """A request that names the public key of `other`, signed with the key of `pem`."""
    keys = [
        x509.load_pem_x509_csr(one).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[union-attr]
        for one in (other, pem)
    ]
    der = x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER)
    assert len(keys[0]) == len(keys[1])
    return x509.load_der_x509_csr(der.replace(keys[1], keys[0])).public_bytes(Encoding.PEM)
