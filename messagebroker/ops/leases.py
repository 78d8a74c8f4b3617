"""What a client holds of a message that it took: message and token, as one text that means nothing to the client."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime

from messagebroker.ops import clock

_ID_BYTES = 16
_TIME_BYTES = 6  # milliseconds since 1970, so that the attempt's row can say how long the lease took
HOLDER_BYTES = 16


@dataclass(frozen=True)
class Lease:
    """`holder` is what the delivery's row has as long as nobody else takes it."""

    message_id: bytes
    holder: bytes

    @property
    def text(self) -> str:
        """As clients get it and give it back."""
        return base64.urlsafe_b64encode(self.message_id + self.holder).decode().rstrip("=")

    def is_of(self, holder: bytes | None) -> bool:
        """Whether this is the lease that a row names; takes as long for a guess that is nearly right."""
        return holder is not None and hmac.compare_digest(self.holder, holder)


def parse(text: str) -> Lease | None:
    """The lease that a client names; None for what none of ours looks like."""
    try:
        raw = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return Lease(raw[:_ID_BYTES], raw[_ID_BYTES:]) if len(raw) == _ID_BYTES + HOLDER_BYTES else None


def new_holder(now: datetime) -> bytes:
    """A token for the leases of one pull: when it was, and 80 random bits."""
    return (clock.micros(now) // 1000).to_bytes(_TIME_BYTES) + secrets.token_bytes(HOLDER_BYTES - _TIME_BYTES)


def began(holder: bytes) -> datetime:
    """When the pull was that got this token."""
    return clock.from_micros(int.from_bytes(holder[:_TIME_BYTES]) * 1000)
