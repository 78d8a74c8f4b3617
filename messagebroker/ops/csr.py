"""Certificate signing requests: only the public key is taken from them, once its holder proved to have the private half."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from messagebroker.errors import Refused
from messagebroker.ops.pki import PublicKey

MAX_BYTES = 16 * 1024
_CURVES = (ec.SECP256R1, ec.SECP384R1)
_RSA_BITS = range(2048, 4097)  # longer ones cost every handshake of ours, and a check of theirs can take seconds
_HASHES = (SHA256, SHA384, SHA512)
_KEYS = "ECDSA on P-256 or P-384, or RSA with 2048 to 4096 bits"


class WrongRequest(Refused):
    """The signing request cannot be signed, whoever sends it."""


def public_key_of(pem: bytes, *, ecdsa_only: bool = False) -> PublicKey:
    """The key that a request asks a certificate for. Its subject and extensions are not looked at: who signs knows the name.

    Args:
        pem: PKCS #10 in PEM.
        ecdsa_only: for components, whose keys this program loads itself.

    Raises:
        WrongRequest: it is none, its signature is not by that key, or the key is of a kind or a size that is not taken.
    """
    if len(pem) > MAX_BYTES:
        raise WrongRequest(f"a signing request has up to {MAX_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(pem)
        key = request.public_key()
        hashed = request.signature_hash_algorithm
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise WrongRequest(f"this is no signing request in PEM that can be read, or its key is none of {_KEYS}") from error
    _check_key(key, ecdsa_only=ecdsa_only)  # before its signature: checking one with a huge key takes long
    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    if not isinstance(hashed, _HASHES):
        raise WrongRequest("the signing request is signed with an outdated hash; SHA-256 will do (`openssl req -sha256`)")
    try:
        is_theirs = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        is_theirs = False
    if not is_theirs:
        raise WrongRequest("the signing request's signature is not by its key: it was changed, or made for somebody else's key")
    return key


def _check_key(key: object, *, ecdsa_only: bool) -> None:
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return
    if ecdsa_only:
        raise WrongRequest("a component's key is ECDSA, on P-256 or P-384")
    if not isinstance(key, rsa.RSAPublicKey):
        raise WrongRequest(f"a key of this kind is not taken; {_KEYS}")
    if key.key_size not in _RSA_BITS:
        raise WrongRequest(f"an RSA key of {key.key_size} bits is not taken; {_KEYS}")
    if key.public_numbers().e < 65537:
        raise WrongRequest("an RSA key with an exponent below 65537 is not taken")


def request_for(key: ec.EllipticCurvePrivateKey, name: str) -> bytes:
    """A signing request in PEM, as the holder of a key makes it."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256()).public_bytes(Encoding.PEM)
