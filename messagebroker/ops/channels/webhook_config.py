"""What people say of a webhook: where it is, how it is called, and what is secret of that."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct, field, structs

from messagebroker.ops.channels.pem import certificates_of, check_pair
from messagebroker.ops.destinations import Forbidden, destination

MOST_IDLE = 500
"""Connections that a process keeps though nobody uses them."""

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_MOST_HEADERS = 20
_OURS = ("webhook-", "content-", "ce-")
_RESERVED = frozenset({
    "host", "connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te", "trailer",
    "transfer-encoding", "upgrade", "http2-settings", "expect", "accept-encoding", "traceparent", "tracestate", "user-agent",
})  # fmt: skip
_SECRET_HEADER = re.compile(r"pass(word|wd)?$|secret|token$|authorization|cookie|(api|access|private)-?key", re.I)
_MOST_PEM = 32_000
_PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)  # of the Standard Webhooks specification

Headers = Annotated[dict[str, str], Meta(max_length=_MOST_HEADERS)]


class WebhookConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where it is, and in which form it wants messages.

    `timeout`: seconds for a whole attempt. `headers`: sent as they are, and shown to whoever sees the webhook. `ca`: PEM; then
    this authority vouches for the receiver, and the system's do not.
    """

    url: Annotated[str, Meta(min_length=8, max_length=2000)]
    timeout: Annotated[float, Meta(ge=1, le=60)] = 15
    format: Literal["native", "cloudevents"] = "native"
    headers: Headers = field(default_factory=dict)
    ca: Annotated[str, Meta(max_length=_MOST_PEM)] | None = None

    def __post_init__(self) -> None:
        try:
            destination(self.url)
        except Forbidden as error:
            raise ValueError(f"url: {error}") from None
        _check_headers(self.headers)
        for name in self.headers:
            if _SECRET_HEADER.search(name):
                raise ValueError(f"headers: {name} goes into secrets.headers: this part is shown, logged and audited as it is")
        if self.ca is not None:
            certificates_of("ca", self.ca)


class SigningSecret(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that messages are signed with. `until`: when it is no longer used; null: for good."""

    secret: str
    until: datetime | None = None

    def __post_init__(self) -> None:
        try:
            key = base64.b64decode(self.secret.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not self.secret.startswith(_PREFIX) or len(key) not in _SECRET_BYTES:
            raise ValueError("secret is whsec_ and the base64 of 24 to 64 random bytes")
        if self.until is not None and self.until.tzinfo is None:
            raise ValueError("until has a zone")

    def __repr__(self) -> str:
        return f"SigningSecret(until={self.until})"


class WebhookSecrets(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sealed at rest. The first signing secret is the current one; headers are sent as they are."""

    signing: Annotated[list[SigningSecret], Meta(max_length=5)] = field(default_factory=list)
    headers: Headers = field(default_factory=dict)
    client_certificate: Annotated[str, Meta(max_length=_MOST_PEM)] | None = None  # PEM, with intermediates
    client_key: Annotated[str, Meta(max_length=_MOST_PEM)] | None = None  # PEM, without a password

    def __post_init__(self) -> None:
        _check_headers(self.headers)
        if self.signing and all(one.until is not None for one in self.signing):
            raise ValueError("signing: one secret at least has no end (`until`), so that nothing leaves unsigned")
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("client_certificate and client_key go together")
        if self.client_certificate is not None and self.client_key is not None:
            check_pair(self.client_certificate, self.client_key)

    def __repr__(self) -> str:
        return "WebhookSecrets(…)"


def drawn() -> SigningSecret:
    """A new signing secret."""
    return SigningSecret(secret=_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode())


def completed(given: WebhookSecrets) -> WebhookSecrets:
    """With a signing secret, whether one was given or not: nothing leaves unsigned."""
    return given if given.signing else structs.replace(given, signing=[drawn()])


def _check_headers(headers: dict[str, str]) -> None:
    seen: set[str] = set()
    for name, value in headers.items():
        low = name.lower()
        if not _HEADER.fullmatch(name) or low in _RESERVED or low.startswith(_OURS) or low in seen:
            raise ValueError(f"headers: {name[:100]!r} is no header that can be set here, or is there twice")
        if len(value) > 4000 or not value.isascii() or not value.isprintable():
            raise ValueError(f"headers: the value of {name} is not up to 4,000 printable ASCII characters")
        seen.add(low)
