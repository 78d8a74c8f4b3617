"""The recovery key: its public half seals the secrets inside backups, its private half is on paper at the operator's."""

from __future__ import annotations

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from messagebroker.errors import ConfigurationError, Refused
from messagebroker.ops.keyring import SUITE
from messagebroker.settings import Settings

_INFO = b"messagebroker backup\0"


def public_key(settings: Settings) -> X25519PublicKey:
    """The public half in RECOVERY_KEY_PATH.

    Raises:
        ConfigurationError: there is none, or the file holds something else.
    """
    path = settings.path(settings.recovery_key_path)
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} is missing: without the recovery key a backup cannot seal its secrets; "
            "`messagebroker setup` or `messagebroker up` makes one, or set RECOVERY_KEY_PATH"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"cannot read the recovery key in {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"cannot read the recovery key in {path}: it is no text") from error
    raw = _raw(text)
    if raw is None:
        raise ConfigurationError(f"{path} does not hold the public half of a recovery key; restore it from a backup")
    return X25519PublicKey.from_public_bytes(raw)


def private_key(text: str) -> X25519PrivateKey:
    """The private half as it was shown once at first start; blanks and line ends do not matter.

    Raises:
        Refused: the text is no such key.
    """
    raw = _raw(text)
    if raw is None:
        raise Refused("this is no recovery key: it has 32 bytes, written exactly as they were shown at first start")
    return X25519PrivateKey.from_private_bytes(raw)


def key_id(key: X25519PublicKey) -> str:
    """A short name of a recovery key that people can compare: 16 hexadecimal digits."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def seal(key: X25519PublicKey, name: str, data: bytes) -> bytes:
    """`data` for the holder of the private half only; `name` is bound to it."""
    return SUITE.encrypt(data, key, _INFO + name.encode())


def unseal(key: X25519PrivateKey, name: str, sealed: bytes) -> bytes:
    """The inverse of `seal`.

    Raises:
        Refused: sealed to another key, under another name, or changed since.
    """
    try:
        return SUITE.decrypt(sealed, key, _INFO + name.encode())
    except (InvalidTag, ValueError) as error:
        raise Refused(f"{name} does not open with this recovery key, or it was changed") from error


def _raw(text: str) -> bytes | None:
    try:
        raw = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == 32 else None
