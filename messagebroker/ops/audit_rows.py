"""Rows of the audit log as bytes: what their signatures and the chain are made over.

Whoever can write to the database can insert a row, and the chain would take it in within two seconds as any other. So rows are
signed with a key from main's secret by whoever writes them: processes of main's account. A row without a good signature was
inserted by somebody else.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from messagebroker.db.connection import opened_with
from messagebroker.errors import ConfigurationError
from messagebroker.ops import clock, keyring
from messagebroker.settings import Settings

CONTENT = ("created_at", "actor", "action", "object_type", "object_id", "address", "user_agent", "details")
"""The columns that are signed; the chain adds the row's id and its signature. Published: another order is another signature."""

NO_LINK = bytes(32)
"""What comes before the first link."""

_NONCE_BYTES = 8  # two rows that say the same have different signatures, so that a copy of a row can be told
_known: tuple[tuple[Path, int, int], bytes] | None = None  # deriving takes longer than inserting the row


def signature(row: Mapping[str, Any]) -> bytes | None:
    """Of a row that is to be inserted. None where main's secret is not: what such a process writes shows as inserted."""
    key = _own_key()
    return None if key is None else _signed(key, secrets.token_bytes(_NONCE_BYTES), row)


def is_genuine(key: bytes, row: Mapping[str, Any]) -> bool:
    """Whether the row is as one that knows main's secret wrote it."""
    given = row["signature"]
    return given is not None and hmac.compare_digest(bytes(given), _signed(key, bytes(given)[:_NONCE_BYTES], row))


def link(key: bytes, before: bytes, seq: int, row: Mapping[str, Any]) -> bytes:
    """The next link of the chain: over the link before, its own place, and the whole row."""
    given = row["signature"]
    content = _packed([seq, row["id"], None if given is None else bytes(given), *_values(row)])
    return hmac.digest(key, before + content, "sha256")


def signing_key(settings: Settings) -> bytes:
    """For rows; raises ConfigurationError where main's secret is not."""
    return keyring.derived_key(settings, "audit row")


def chain_key(settings: Settings) -> bytes:
    """For links, and for the lines of the head file."""
    return keyring.derived_key(settings, "audit chain")


def _signed(key: bytes, nonce: bytes, row: Mapping[str, Any]) -> bytes:
    return nonce + hmac.digest(key, nonce + _packed(_values(row)), "sha256")[:16]


def _values(row: Mapping[str, Any]) -> list[Any]:
    moment = row["created_at"]
    return [clock.micros(moment) if isinstance(moment, datetime) else str(moment), *(row[name] for name in CONTENT[1:])]


_packed = msgspec.msgpack.Encoder().encode


def _own_key() -> bytes | None:
    global _known  # noqa: PLW0603 - a cache
    settings = opened_with()
    if settings is None:
        return None
    path = settings.path(settings.main_secret_path)
    try:
        found = path.stat()
        version = (path, found.st_mtime_ns, found.st_ino)  # a restore may bring another one
        if _known is None or _known[0] != version:
            _known = (version, signing_key(settings))
        return _known[1]
    except (OSError, ConfigurationError):
        return None
