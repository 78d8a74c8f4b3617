"""One installation, a home for each role: what main's home holds is handed out, to each role only what is its own.

    ROOT/.env          settings that are no secrets, for every role
    ROOT/main_server/  main's home, and the operator's: CA, certificates, secrets, .env with main's secrets
    ROOT/proxy/ …      another role's: its certificate, its secret files, .env with its secrets

A role runs in ROOT with DATA_DIR=ROOT/FOLDER, so that it reads both .env files, and of the secrets only its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from messagebroker.errors import ConfigurationError, Refused
from messagebroker.ops import env_file
from messagebroker.ops.component_certificates import MONITORING, renewed_itself
from messagebroker.ops.junctions import files_below, leads_elsewhere
from messagebroker.ops.keyring import jwt_key_path
from messagebroker.ops.private_files import read_secret, write_public, write_secret
from messagebroker.ops.rights import PUBLIC, Rights, of_this_machine
from messagebroker.roles import BY_NAME, ROLES, SECRET_VARIABLES, Role
from messagebroker.settings import Settings

DEFAULT_ROOT = Path(r"C:\MessageBroker") if os.name == "nt" else Path("/var/lib/messagebroker")
_SECRET_NAMES = frozenset({*SECRET_VARIABLES, *(f"{name}_FILE" for name in SECRET_VARIABLES)})
_SHARED_HEAD = """\
# Settings of this installation for every role, NAME=value; docs/settings.md lists them all.
# Secrets are not kept here. To change one (DATABASE_URL, REDIS_URL, REDIS_PASSWORD, JWT_SECRET, SMTP_PASSWORD) write it here
# and run `messagebroker setup`: it moves it to those who may have it. Restart the roles afterwards.
"""
_MAIN_HEAD = "# Secrets; `messagebroker setup` hands them out from here. docs/settings.md lists all settings.\n"
_ROLE_HEAD = "# Written by `messagebroker setup` from main's; change secrets there.\n"
_FIELDS = {
    "secrets/encryption.key": "encryption_key_path",
    "secrets/sender.key": "sender_key_path",
    "secrets/main.secret": "main_secret_path",
    "secrets/recovery.pub": "recovery_key_path",
    "ca": "ca_dir",
}


@dataclass(frozen=True)
class Home:
    """Where one role lives."""

    role: Role
    path: Path

    @property
    def environment(self) -> dict[str, str]:
        """What its process needs in its environment, with ROOT as working directory; all else is in files."""
        return {"DATA_DIR": str(self.path)}


@dataclass(frozen=True)
class Change:
    """One thing that was not as it has to be."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def homes(root: Path) -> tuple[Home, ...]:
    """Of every role, in the table's order."""
    return tuple(Home(role, root / role.folder) for role in ROLES)


def main_home(root: Path) -> Path:
    """Main's, which is the operator's too."""
    return root / BY_NAME["main"].folder


def root_of(given: Path | None) -> Path:
    """The installation that is meant: the one named, else the one that this folder is, else where installations are."""
    if given is not None:
        return given.absolute()
    here = Path.cwd()
    return here if main_home(here).is_dir() else DEFAULT_ROOT


def are_around(settings: Settings) -> bool:
    """Whether this is main's home and the other roles have theirs beside it."""
    folder = settings.data_dir.absolute()
    return folder == main_home(folder.parent) and all(home.path.is_dir() for home in homes(folder.parent))


def shared_settings(root: Path) -> list[Change]:
    """ROOT/.env, with the lines that make everybody find the same folders; existing ones stay."""
    path = root / ".env"
    old = env_file.read(path)
    wanted = {
        "ENVIRONMENT": "production",  # as in containers: the parity test of all homes compares them
        "DATA_DIR": BY_NAME["main"].folder,
        "LOG_FILE_PATH": str(root / "logs"),
        "BACKUP_DIR": str(root / "backups"),
    }
    known = env_file.names(old)
    return _text(path, env_file.changed(old or _SHARED_HEAD, {k: v for k, v in wanted.items() if k not in known}), secret=False)


def hand_out(settings: Settings, root: Path, rights: Rights | None = None) -> list[Change]:
    """Brings every home into the state that the table of roles says; what had to be changed. May be repeated.

    Args:
        settings: main's, from all sources: what they name as secrets is what is handed out.

    Raises:
        Refused: a role holds a secret that it must not have and that nobody else has.
        ConfigurationError: the settings put keys or certificates where not every home can have its own.
    """
    rights = rights or of_this_machine()
    values = secret_values(settings)
    _check_paths(settings)
    changes: list[Change] = []
    for home in homes(root):
        home.path.mkdir(mode=0o700, exist_ok=True)
        changes += _variables(home, values)
        if home.role.name != "main":
            changes += _files(
                settings, home.path, _belongings(settings, home), renewed=renewed_itself(settings, home.role, home.path)
            )
    if (root / MONITORING).is_dir():
        changes += _files(settings, root / MONITORING, _certificate(settings, MONITORING))
    changes += _without_secrets(root / ".env")
    changes += _rights(settings, root, rights)
    return changes


def secret_values(settings: Settings) -> dict[str, str]:
    """The secrets in force; one for people's tokens is there once `first_start` has made it."""
    found = {}
    for name in SECRET_VARIABLES:
        value: SecretStr | None = getattr(settings, name.lower())
        if value is not None:
            found[name] = value.get_secret_value()
    if "JWT_SECRET" not in found and (path := jwt_key_path(settings)).exists():
        found["JWT_SECRET"] = read_secret(path).decode().strip()
    return found


def _check_paths(settings: Settings) -> None:
    for field in (*_FIELDS.values(), "certs_dir"):
        path: Path = getattr(settings, field)
        if path.anchor or ".." in path.parts or len(path.parts) < (2 if field.endswith("_path") else 1):
            raise ConfigurationError(
                f"{field.upper()} is {path}; every role has its own in a folder inside its home, so it must be written"
                f" as {Settings.model_fields[field].default.as_posix()} is"
            )


def _variables(home: Home, values: dict[str, str]) -> list[Change]:
    path = home.path / ".env"
    own = {name: value for name, value in values.items() if name in home.role.variables}
    old = env_file.read(path)
    head = _MAIN_HEAD if home.role.name == "main" else _ROLE_HEAD
    return _text(path, env_file.changed(old or head, own, without=_SECRET_NAMES), secret=True)


def _without_secrets(path: Path) -> list[Change]:
    if not path.exists():
        return []
    old = env_file.read(path)
    moved = sorted(env_file.names(old) & _SECRET_NAMES)
    if not moved:
        return []
    write_public(path, env_file.changed(old, {}, without=_SECRET_NAMES).encode(), overwrite=True)
    return [Change(path, f"moved {', '.join(moved)} to the homes of those who may have it")]


def _text(path: Path, text: str, *, secret: bool) -> list[Change]:
    if path.exists() and env_file.read(path) == text:
        return []
    (write_secret if secret else write_public)(path, text.encode(), overwrite=True)
    return [Change(path, "written")]


def _belongings(settings: Settings, home: Home) -> dict[Path, Path]:
    """Name inside the home -> main's file."""
    role = home.role
    found = _certificate(settings, role.name) if role.has_certificate else {}
    for name in role.files:
        relative: Path = getattr(settings, _FIELDS[name])
        found[relative] = settings.path(relative)
    return found


def _certificate(settings: Settings, name: str) -> dict[Path, Path]:
    files = (f"{name}.crt", f"{name}.key", "ca.crt")
    return {settings.certs_dir / file: settings.path(settings.certs_dir) / file for file in files}


def _files(
    settings: Settings, home: Path, belongings: dict[Path, Path], *, renewed: frozenset[Path] = frozenset()
) -> list[Change]:
    changes = []
    for path in _strangers(settings, home, belongings):
        _require_copy(path, settings.data_dir.absolute() / path.relative_to(home))
        path.unlink()
        changes.append(Change(path, "removed, it is not this role's"))
    for name, source in belongings.items():
        target, data = home / name, read_secret(source)
        if name not in renewed and (not target.exists() or target.read_bytes() != data):
            target.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            (write_public if target.suffix in PUBLIC else write_secret)(target, data, overwrite=True)
            changes.append(Change(target, "copied from main's home"))
    return changes


def _strangers(settings: Settings, home: Path, belongings: dict[Path, Path]) -> Iterator[Path]:
    """Files that are not the role's, in the folders where keys and certificates are."""
    keys = (settings.encryption_key_path, settings.sender_key_path, settings.recovery_key_path, Path("secrets/any.key"))
    for folder in sorted({home / folder for folder in (settings.certs_dir, settings.ca_dir, *(key.parent for key in keys))}):
        if leads_elsewhere(home) or leads_elsewhere(folder):  # a role that was broken into could lead us elsewhere
            raise Refused(f"{folder} leads elsewhere by a link; put a folder in its place, then run this again")
        for path in files_below(folder):
            if path.relative_to(home) not in belongings:
                yield path


def _require_copy(path: Path, mains: Path) -> None:
    """What is removed is not lost: it is public, passing (`.lock`, a draft), or main has it too."""
    if path.suffix in (*PUBLIC, ".lock") or path.name.startswith("."):
        return
    if not mains.is_file() or mains.read_bytes() != path.read_bytes():
        raise Refused(
            f"{path} must not be there, and {mains} is no copy of it; if it is needed move it there, else delete it,"
            " then run this again"
        )


def _rights(settings: Settings, root: Path, rights: Rights) -> list[Change]:
    owners = {home.path: home.role for home in homes(root)}
    if (backups := settings.path(settings.backup_dir)).is_dir():
        owners[backups] = BY_NAME["main"]
    changed = rights.root(root)
    for folder, role in owners.items():
        changed += rights.home(folder, role)
    if (root / MONITORING).is_dir():
        changed += rights.guest(root / MONITORING)
    if settings.log_file_path is not None:
        logs = settings.path(settings.log_file_path)
        logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        changed += rights.logs(logs)
    return [Change(path, "rights corrected") for path in changed]
