"""The Message-IDs of our e-mails: they name the delivery, and nobody but we can make them.

A bounce quotes the header of what bounced. Whoever never got an e-mail of ours, or changes the id in it, cannot turn a
delivery into a failed one. An e-mail with several messages (a digest) names the others in a header of its own, which the
Message-ID's signature covers too.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from messagebroker.ops.keyring import KeyRing
from messagebroker.settings import Settings

OTHERS = "X-MessageBroker-Messages"
"""The header with the ids of all messages of a digest."""
_FORM = re.compile(r"<?\s*mb\.([0-9a-f]{32})\.([1-9][0-9]{0,9})\.([0-9a-f]{32})@[^@<>\s]+\s*>?")


@dataclass(frozen=True)
class Named:
    """What an e-mail delivered."""

    message_ids: tuple[bytes, ...]
    subscription_id: int


class Signer:
    """Signs with a key that is derived from the newest master key, and knows those of retired ones.

    Main and workers have the master keys, and nobody else: proxies and the portal cannot make such ids.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = [_derived(private.private_bytes_raw()) for _, private in KeyRing.load(settings).keys]

    def message_id(self, named: Named, domain: str) -> str:
        """The header's value."""
        return f"<mb.{named.message_ids[0].hex()}.{named.subscription_id}.{_signature(self._keys[0], named)}@{domain}>"

    def read(self, message_id: str, others: str | None) -> Named | None:
        """What an e-mail with this Message-ID and this header `OTHERS` delivered; None when we did not write it."""
        found = _FORM.fullmatch(message_id.strip())
        if found is None:
            return None
        first = bytes.fromhex(found[1])
        message_ids = (first,) if others is None else _unpacked(others)
        named = Named(message_ids, int(found[2]))
        if not message_ids or message_ids[0] != first:
            return None
        given = found[3]
        return named if any(hmac.compare_digest(_signature(key, named), given) for key in self._keys) else None


def packed(message_ids: Sequence[bytes]) -> str:
    """The value of `OTHERS`: words of 22 characters, so that the header can be folded."""
    return " ".join(base64.urlsafe_b64encode(one).decode().rstrip("=") for one in message_ids)


def _unpacked(value: str) -> tuple[bytes, ...]:
    try:
        return tuple(base64.b64decode(word + "==", altchars=b"-_", validate=True) for word in value.split())
    except (binascii.Error, ValueError):
        return ()


def _signature(key: bytes, named: Named) -> str:
    covered = str(named.subscription_id).encode() + b"." + b"".join(named.message_ids)
    return hmac.digest(key, covered, "sha256")[:16].hex()


def _derived(private: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"messagebroker e-mail message ids").derive(private)
