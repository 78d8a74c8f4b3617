"""Bringing the files of a backup back: what is written, what stays, and where the replaced ones go."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from messagebroker.errors import Refused
from messagebroker.ops import installation
from messagebroker.ops.private_files import write_public, write_secret
from messagebroker.settings import Settings

Action = Literal["write", "keep", "replace", "merge", "beside"]


@dataclass(frozen=True)
class FileChange:
    """What happens to one file of the backup."""

    name: str
    path: Path
    action: Action


class FilePlan:
    """Decides for each file; nothing is touched before `carry_out`.

    The CA that is here stays, with every certificate that it issued or revoked since: then only missing files come back.
    Another CA (of a machine that was set up anew) makes way. Master keys are merged: what waits in Redis may need the new ones.

    Args:
        contents: the files of the backup by name, opened.
    """

    def __init__(self, settings: Settings, contents: Mapping[str, bytes]) -> None:
        self._settings = settings
        self._contents = {name: data for name, data in contents.items() if name not in _ONLY_TO_READ}
        self.replaces_ca = self._has_other_ca()
        self.changes = [self._decided(name, data) for name, data in sorted(self._contents.items())]

    @property
    def effective(self) -> list[FileChange]:
        """The changes that change something."""
        return [change for change in self.changes if change.action != "keep"]

    def carry_out(self, aside: Path) -> bool:
        """Writes the files; what they replace goes to the folder `aside`, whose existence is returned."""
        if self.replaces_ca:
            for folder in (self._settings.ca_dir, self._settings.certs_dir):
                _move(self._settings.path(folder), aside / folder.name)
        for change in self.effective:
            data = self._data(change)
            if change.action in {"replace", "merge"}:
                _move(change.path, aside / change.name)
            write = write_secret if installation.is_secret(change.name) else write_public
            write(change.path, data, overwrite=True)
        return aside.exists()

    def _has_other_ca(self) -> bool:
        ours, theirs = self._present(installation.CA_CERTIFICATE), self._contents.get(installation.CA_CERTIFICATE)
        return ours is not None and theirs is not None and ours != theirs

    def _decided(self, name: str, data: bytes) -> FileChange:
        path = installation.path_of(self._settings, name)
        if path is None:
            raise Refused(f"the backup holds a file {name!r} that belongs nowhere; it was not made by this program")
        return FileChange(name, path if name != installation.ENV_FILE else self._env_path(data), self._action(name, data))

    def _action(self, name: str, data: bytes) -> Action:
        present = self._present(name)
        if name.startswith(("ca/", "certs/")):
            if self.replaces_ca:
                return "write"
            return "keep" if present is not None or self._has_newer_certificate(name) else "write"
        if present is None:
            return "write"
        if present == data:
            return "keep"
        if name == installation.ENV_FILE:
            return "beside"
        if name == installation.MASTER_KEYS:
            return "keep" if merge_master_keys(present, data) == present else "merge"
        return "replace"

    def _has_newer_certificate(self, name: str) -> bool:
        """Whether the certificate of a missing key is another one than in the backup, so that the key would not match it."""
        if not name.endswith(".key"):
            return False
        certificate = name.removesuffix(".key") + ".crt"
        present = self._present(certificate)
        return present is not None and present != self._contents.get(certificate)

    def _env_path(self, data: bytes) -> Path:
        """The .env in force names the database that is restored into: it stays, the backup's goes beside it."""
        path = self._settings.path(Path(".env"))
        return path if self._present(installation.ENV_FILE) in {None, data} else path.with_name(".env.restored")

    def _data(self, change: FileChange) -> bytes:
        data = self._contents[change.name]
        present = self._present(change.name)
        return merge_master_keys(present, data) if change.action == "merge" and present is not None else data

    def _present(self, name: str) -> bytes | None:
        path = installation.path_of(self._settings, name)
        return path.read_bytes() if path is not None and path.is_file() else None


_ONLY_TO_READ = {installation.SETTINGS, installation.SUMMARY}


def merge_master_keys(present: bytes, restored: bytes) -> bytes:
    """The keys that are here, the newest first as ever, then those of the backup that are missing."""
    try:
        here: list[dict[str, Any]] = msgspec.json.decode(present)
        known = {entry["id"] for entry in here}
    except (msgspec.DecodeError, TypeError, KeyError):
        return restored  # what was here is no key ring
    there: list[dict[str, Any]] = msgspec.json.decode(restored)
    missing = [entry for entry in there if entry["id"] not in known]
    return msgspec.json.format(msgspec.json.encode(here + missing)) + b"\n" if missing else present


def _move(source: Path, target: Path) -> None:
    if source.exists():
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.move(source, target)
