"""Sealing messages in the proxy: one data key for minutes, a counter for its nonces, no lock on the way."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from messagebroker.ops import clock
from messagebroker.ops.keyring import (
    SUITE,
    KeyRing,
    create_master_key,
    first_secrets,
    purpose_of,
    sender_hash,
    sender_key,
)
from messagebroker.ops.records import SealedKey

MAX_USES = 2**31
"""Of one data key."""

MasterKey = tuple[bytes, bytes]
"""Id and raw public half."""


class SealingKey:
    """One data key in use. Any number of threads may seal with it at once."""

    __slots__ = ("_encrypt", "_next", "ends_at", "key", "master", "used_up")

    def __init__(self, master: MasterKey, seconds: float) -> None:
        data_key = AESGCM.generate_key(256)
        key_id = secrets.token_bytes(16)
        master_id, public = master
        sealed = SUITE.encrypt(data_key, X25519PublicKey.from_public_bytes(public), purpose_of(key_id))
        self.master = master
        self.key = SealedKey(key_id, master_id, sealed, clock.micros(clock.now()))
        self.ends_at = time.monotonic() + seconds
        self.used_up = False
        self._encrypt = AESGCM(data_key).encrypt
        self._next = itertools.count().__next__  # one C call: no two threads get the same number

    def seal(self, message_id: bytes, client: bytes, plain: bytes) -> bytes:
        """Nonce and ciphertext; the associated data is the id (16 bytes) and the client."""
        number = self._next()
        if number >= MAX_USES:
            self.used_up = True  # what is in hand may finish: a counter does not repeat
        nonce = number.to_bytes(12, "big")
        return nonce + self._encrypt(nonce, plain, message_id + client)


class Sealer:
    """Draws data keys and replaces them in time.

    Args:
        master: the master key to seal data keys to, or a function that tells it (from the policy in force);
            a change of it takes effect with the next `current`.
        seconds: how long one data key is used.
    """

    def __init__(self, master: Callable[[], MasterKey] | MasterKey, seconds: float) -> None:
        self._master = master if callable(master) else lambda: master
        self._seconds = seconds
        self._lock = threading.Lock()
        self._key: SealingKey | None = None  # drawn on first use: there may be no policy yet

    def current(self) -> SealingKey:
        """The key to seal the messages of this request with."""
        key = self._key
        if key is None or key.used_up or time.monotonic() >= key.ends_at or key.master != self._master():
            return self._rotated(key)
        return key

    def seal(self, message_id: bytes, client: str, payload_plain: bytes) -> tuple[bytes, SealedKey]:
        """One message, sealed, and the data key to send along."""
        key = self.current()
        return key.seal(message_id, client.encode(), payload_plain), key.key

    def _rotated(self, old: SealingKey | None) -> SealingKey:
        with self._lock:
            if self._key is None or self._key is old:  # no other thread was faster
                self._key = SealingKey(self._master(), self._seconds)
            return self._key


__all__ = [
    "MAX_USES",
    "KeyRing",
    "MasterKey",
    "Sealer",
    "SealingKey",
    "create_master_key",
    "first_secrets",
    "sender_hash",
    "sender_key",
]
