"""Payloads, opened for channels; data keys are opened once and kept for a while."""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from messagebroker.errors import Damaged, NotFound, Refused
from messagebroker.ops import ids
from messagebroker.ops.keyring import NONCE_BYTES, KeyRing
from messagebroker.ops.records import Payload, SealedKey, decode_payload
from messagebroker.settings import Settings

_KEPT = 2_000
_ANSWERS = b"messagebroker answers 1"  # what is sealed in the message's place must not open as something else's


class Payloads:
    """Opens messages, and seals what receivers answered. Safe to use from all threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.ring = KeyRing.load(settings)
        self._keys: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, message_id: bytes, client: str, sealed: bytes, key: SealedKey) -> Payload:
        """What was sealed.

        Raises:
            Damaged: it does not open, and never will.
        """
        try:
            return decode_payload(self.ring.open(message_id, client, sealed, self._data_key(key)))
        except (NotFound, Refused, msgspec.MsgspecError) as error:
            raise Damaged(f"message {ids.text(message_id)} cannot be opened: {error}") from error

    def seal_answer(self, message_id: bytes, answer: bytes, key: SealedKey) -> bytes:
        """A receiver's answer as its attempt keeps it."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(_key_for_answers(self._data_key(key))).encrypt(nonce, answer, message_id)

    def open_answer(self, message_id: bytes, sealed: bytes, key: SealedKey) -> bytes:
        """The inverse of `seal_answer`.

        Raises:
            Damaged: it does not open.
        """
        try:
            opener = AESGCM(_key_for_answers(self._data_key(key)))
            return opener.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], message_id)
        except (NotFound, Refused, InvalidTag, ValueError) as error:
            raise Damaged(f"an answer to message {ids.text(message_id)} cannot be opened: {error}") from error

    def _data_key(self, key: SealedKey) -> bytes:
        with self._lock:
            found = self._keys.get(key.id)
            if found is not None:
                self._keys.move_to_end(key.id)
                return found
        try:
            found = self.ring.open_key(key)
        except NotFound:  # a master key that was made after this process started
            self.ring = KeyRing.load(self._settings)
            found = self.ring.open_key(key)
        with self._lock:
            self._keys[key.id] = found
            while len(self._keys) > _KEPT:
                self._keys.popitem(last=False)
        return found


def holds(metadata: Mapping[str, object] | None, wanted: Mapping[str, object]) -> bool:
    """Whether everything that is wanted is in a message's metadata."""
    return metadata is not None and all(name in metadata and metadata[name] == value for name, value in wanted.items())


def _key_for_answers(data_key: bytes) -> bytes:
    return hmac.digest(data_key, _ANSWERS, hashlib.sha256)
