"""Certificates and keys that people give for a channel, checked when they are given."""

from __future__ import annotations

from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key


@lru_cache(maxsize=512)
def certificates_of(field: str, pem: str) -> list[x509.Certificate]:
    """At least one.

    Raises:
        ValueError: `field` holds none.
    """
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise ValueError(f"{field} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)") from None


@lru_cache(maxsize=512)
def check_pair(certificate: str, key: str) -> None:
    """
    Raises:
        ValueError: one of them is no PEM, the key has a password, or they do not belong together.
    """
    [first, *_] = certificates_of("client_certificate", certificate)
    try:
        private = load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise ValueError("client_key holds no private key in PEM, or one with a password; give it without") from error
    if private.public_key() != first.public_key():
        raise ValueError("client_key is not the key of client_certificate (the first, if it holds several)")
