"""Which files make up an installation, under names that do not depend on where this machine keeps them.

Names: `ca/…`, `certs/…`, `secrets/…` and `config/…`. Everything is secret but what is known to be public.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from pydantic import SecretStr

from messagebroker.settings import Settings

MASTER_KEYS = "secrets/encryption.key"
SENDER_KEY = "secrets/sender.key"
MAIN_SECRET = "secrets/main.secret"  # nosec B105 # noqa: S105 - a path
RECOVERY_KEY = "secrets/recovery.pub"
ENV_FILE = "config/.env"
SETTINGS = "config/settings.env"
"""Every setting in force that is not the default, whatever source it came from; to read, not to be put back."""
SUMMARY = "config/settings.json"
CA_CERTIFICATE = "ca/ca.crt"

_PUBLIC = {".crt", ".crl", ".revoked"}
_PASSING = {".lock", ".partial"}  # of files that are being written


@dataclass(frozen=True)
class InstalledFile:
    """One file of the installation."""

    name: str
    path: Path
    secret: bool


def files(settings: Settings) -> Iterator[InstalledFile]:
    """Every file that exists now."""
    seen = set()
    for name, path in _all_paths(settings):
        if path.is_file() and path not in seen and path.suffix not in _PASSING:
            seen.add(path)
            yield InstalledFile(name, path, is_secret(name))


def is_secret(name: str) -> bool:
    """Whether a file of this name is sealed in a backup and written for its owner only."""
    return name != RECOVERY_KEY and PurePosixPath(name).suffix not in _PUBLIC


def path_of(settings: Settings, name: str) -> Path | None:
    """Where the file of that name belongs on this machine; None for a name that is none of ours."""
    parts = PurePosixPath(name).parts
    if name in (fixed := dict(_fixed_paths(settings))):
        return fixed[name]
    if len(parts) < 2 or any(part in {"..", ".", ""} or "\\" in part or ":" in part for part in parts):
        return None
    folder = dict(_folders(settings)).get(parts[0])
    return folder.joinpath(*parts[1:]) if folder else None


def _all_paths(settings: Settings) -> Iterator[tuple[str, Path]]:
    yield from _fixed_paths(settings)
    for prefix, folder in _folders(settings):
        for path in sorted(folder.rglob("*")):
            yield f"{prefix}/{path.relative_to(folder).as_posix()}", path


def _fixed_paths(settings: Settings) -> Iterator[tuple[str, Path]]:
    yield MASTER_KEYS, settings.path(settings.encryption_key_path)
    yield SENDER_KEY, settings.path(settings.sender_key_path)
    yield MAIN_SECRET, settings.path(settings.main_secret_path)
    yield RECOVERY_KEY, settings.path(settings.recovery_key_path)
    yield ENV_FILE, settings.path(Path(".env"))


def _folders(settings: Settings) -> Iterator[tuple[str, Path]]:
    yield "ca", settings.path(settings.ca_dir)
    yield "certs", settings.path(settings.certs_dir)
    yield "secrets", settings.path(Path("secrets"))


def settings_text(settings: Settings) -> bytes:
    """The settings in force as an .env file, secrets and all."""
    lines = [f"{field.upper()}={_plain(value)}" for field, value in _changed(settings)]
    return ("\n".join(lines) + "\n").encode()


def settings_summary(settings: Settings) -> bytes:
    """The same for everybody's eyes: a secret is only said to be set."""
    shown = {field: "(set)" if isinstance(value, SecretStr) else str(value) for field, value in _changed(settings)}
    return msgspec.json.format(msgspec.json.encode(shown))


def _changed(settings: Settings) -> Iterator[tuple[str, Any]]:
    for field, info in type(settings).model_fields.items():
        value = getattr(settings, field)
        if value != info.default and value is not None:
            yield field, value


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
