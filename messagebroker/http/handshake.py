"""Why a handshake failed, in one word for the metric, and who the peer is when it did not."""

from __future__ import annotations

import ssl
from functools import lru_cache

from messagebroker.errors import Refused
from messagebroker.ops.identity import Peer, peer_of

PLAIN_HTTP = "plain-http"
TIMEOUT = "timeout"
GONE = "gone"
NOT_TLS = "not-tls"
DISPLACED = "displaced"  # silent, and in the way of a newer one
TOO_MANY = "too-many-connections"

_CERTIFICATE = {  # OpenSSL's X509_V_ERR_… numbers
    9: "certificate-not-yet-valid",
    10: "certificate-expired",
    18: "foreign-ca",  # self-signed
    19: "foreign-ca",  # a self-signed one in the chain
    20: "foreign-ca",  # the issuer is not known
    21: "foreign-ca",
    26: "wrong-key-usage",
}
_PROTOCOL = {
    "HTTP_REQUEST": PLAIN_HTTP,
    "HTTPS_PROXY_REQUEST": PLAIN_HTTP,
    "UNSUPPORTED_PROTOCOL": "old-protocol",
    "VERSION_TOO_LOW": "old-protocol",
    "NO_SHARED_CIPHER": "no-shared-cipher",
}


def reason_of(error: ssl.SSLError) -> str:
    """The label of TLS_REFUSED. There are few, whatever a peer sends."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE.get(error.verify_code, "bad-certificate")
    reason = error.reason or ""
    if "ALERT" in reason:
        return "refused-by-peer"  # it does not believe our certificate, as a rule
    return _PROTOCOL.get(reason, NOT_TLS)


def detail_of(error: ssl.SSLError) -> str:
    """OpenSSL's own words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or str(error)).replace("_", " ").lower()


@lru_cache(maxsize=4096)
def identify(der: bytes) -> tuple[Peer | None, str | None]:
    """(peer, None), or (None, why a verified certificate names nobody)."""
    try:
        return peer_of(der), None
    except Refused as problem:
        return None, str(problem)
