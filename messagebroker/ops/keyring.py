"""The private master keys that open what proxies sealed, and the other secrets of an installation."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from messagebroker.errors import ConfigurationError, NotFound, Refused
from messagebroker.ops import clock
from messagebroker.ops.private_files import exclusive, read_secret, write_public, write_secret
from messagebroker.ops.records import SealedKey
from messagebroker.settings import Settings

SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
NONCE_BYTES = 12
_PURPOSE = b"messagebroker data key 1 "


class _MasterKey(msgspec.Struct, frozen=True):
    """One entry of encryption.key."""

    id: str  # 16 hex digits: the beginning of the SHA-256 of the public half
    private: str  # 32 bytes in base64
    created_at: str


@dataclass(frozen=True)
class Entry:
    """What may be told of a master key."""

    id: str
    created_at: datetime


@dataclass(frozen=True)
class KeyRing:
    """The master keys of `encryption.key`, newest first; retired ones stay, to open what is old."""

    keys: tuple[tuple[bytes, X25519PrivateKey], ...]

    @classmethod
    def load(cls, settings: Settings) -> KeyRing:
        """From ENCRYPTION_KEY_PATH.

        Raises:
            ConfigurationError: the file is missing, damaged or not of this format.
        """
        path = settings.path(settings.encryption_key_path)
        return cls(tuple((bytes.fromhex(entry.id), _private(entry, path)) for entry in _entries(path)))

    @property
    def current_public(self) -> tuple[bytes, bytes]:
        """Id and raw public half of the newest key: what the policy tells the proxies."""
        key_id, private = self.keys[0]
        return key_id, private.public_key().public_bytes_raw()

    def open_key(self, key: SealedKey) -> bytes:
        """The data key's 32 bytes.

        Raises:
            NotFound: its master key is not in this ring.
            Refused: it was tampered with.
        """
        private = self._by_id.get(key.master_key_id)
        if private is None:
            raise NotFound(
                f"master key {key.master_key_id.hex()} is not in encryption.key; bring it back from a backup of that time"
            )
        try:
            return SUITE.decrypt(key.sealed, private, purpose_of(key.id))
        except InvalidTag as error:
            raise Refused(f"data key {key.id.hex()} does not open: it is damaged or was changed") from error

    def open(self, message_id: bytes, client: str, sealed: bytes, data_key: bytes) -> bytes:
        """A message's plain payload.

        Raises:
            Refused: it was tampered with, or belongs to another message or client.
        """
        try:
            return AESGCM(data_key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], message_id + client.encode())
        except (InvalidTag, ValueError) as error:
            raise Refused(f"message {message_id.hex()} does not open: it is damaged or was changed") from error

    @cached_property
    def _by_id(self) -> dict[bytes, X25519PrivateKey]:
        return dict(self.keys)


def purpose_of(data_key_id: bytes) -> bytes:
    """What a sealed data key is bound to, so that it opens under its own id only."""
    return _PURPOSE + data_key_id


def create_master_key(settings: Settings) -> bytes:
    """Puts a new master key in front of the ring (making the file when there is none); its id.

    Proxies use it from the next published policy on.
    """
    path = settings.path(settings.encryption_key_path)
    private = X25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    key_id = hashlib.sha256(public).digest()[:8]
    entry = _MasterKey(key_id.hex(), base64.b64encode(private.private_bytes_raw()).decode(), clock.now().isoformat())
    with exclusive(path):
        exists = path.exists()
        entries = [entry, *(_entries(path) if exists else ())]
        write_secret(path, msgspec.json.format(msgspec.json.encode(entries)) + b"\n", overwrite=exists)
    return key_id


def entries(settings: Settings) -> list[Entry]:
    """The master keys without their private halves, the newest first.

    Raises:
        ConfigurationError: the file is missing, damaged or not of this format.
    """
    path = settings.path(settings.encryption_key_path)
    return [Entry(entry.id, datetime.fromisoformat(entry.created_at)) for entry in _entries(path)]


def remove_master_key(settings: Settings, key: str) -> None:
    """Takes a retired master key out of the ring for good; callers have made sure that nobody needs it.

    Raises:
        Refused: it is the current one, or not there.
    """
    path = settings.path(settings.encryption_key_path)
    with exclusive(path):
        present = _entries(path)
        left = [entry for entry in present if entry.id != key]
        if left[:1] != present[:1] or len(left) != len(present) - 1:
            raise Refused(f"{path} does not hold {key} as a retired key; `messagebroker keys status` shows what it holds")
        write_secret(path, msgspec.json.format(msgspec.json.encode(left)) + b"\n", overwrite=True)


def jwt_key_path(settings: Settings) -> Path:
    """Where the generated secret for people's tokens is, when JWT_SECRET is not set."""
    return settings.path(Path("secrets/jwt.key"))


def sender_key(settings: Settings) -> bytes:
    """The HMAC key for search by sender; main and proxy have the same."""
    return read_secret(settings.path(settings.sender_key_path)).strip()


def derived_key(settings: Settings, purpose: str) -> bytes:
    """32 bytes of main's own, another for each purpose ("audit chain").

    Raises:
        ConfigurationError: the secret is missing or damaged.
    """
    secret = read_secret(settings.path(settings.main_secret_path)).strip()
    return HKDF(hashes.SHA256(), 32, salt=None, info=f"messagebroker {purpose}".encode()).derive(secret)


def sender_hash(key: bytes, sender: str) -> bytes:
    """What the sender column holds: 16 bytes that tell nothing without the key."""
    return hmac.digest(key, sender.encode(), "sha256")[:16]


def first_secrets(settings: Settings) -> str | None:
    """Makes whatever is missing: master key, sender key, main's secret, token secret, recovery key.

    Returns the private half of the recovery key when it was made now. It is stored nowhere: show it once.
    """
    if not settings.path(settings.encryption_key_path).exists():
        create_master_key(settings)
    for path in (settings.path(settings.sender_key_path), settings.path(settings.main_secret_path), jwt_key_path(settings)):
        if not path.exists():
            write_secret(path, secrets.token_hex(32).encode() + b"\n")
    recovery = settings.path(settings.recovery_key_path)
    return None if recovery.exists() else _new_recovery_key(recovery)


def _new_recovery_key(path: Path) -> str:
    private = X25519PrivateKey.generate()
    write_public(path, base64.b64encode(private.public_key().public_bytes_raw()) + b"\n")
    return base64.b64encode(private.private_bytes_raw()).decode()


def _entries(path: Path) -> list[_MasterKey]:
    try:
        entries = msgspec.json.decode(read_secret(path), type=list[_MasterKey])
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{path} is no list of master keys ({error}); bring it back from a backup") from error
    if not entries:
        raise ConfigurationError(f"{path} holds no master key; bring it back from a backup")
    return entries


def _private(entry: _MasterKey, path: Path) -> X25519PrivateKey:
    try:
        private = X25519PrivateKey.from_private_bytes(base64.b64decode(entry.private, validate=True))
    except (ValueError, binascii.Error) as error:
        raise ConfigurationError(f"{path}: key {entry.id} is damaged; bring the file back from a backup") from error
    if hashlib.sha256(private.public_key().public_bytes_raw()).hexdigest()[:16] != entry.id:
        raise ConfigurationError(f"{path}: key {entry.id} does not belong to its id; bring the file back from a backup")
    return private
