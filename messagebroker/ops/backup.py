"""Making, listing and checking backups: `backup_YYYYMMDD_HHMMSS.zip` in BACKUP_DIR.

A backup holds the database as of one instant, the configuration, the CA and all certificates and keys; what is secret among
the files is sealed to the recovery key. Redis is not part of it: what was stored is in the database, and what still waits
in Redis is ahead of the backup. Callers have opened the database.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from messagebroker import __version__
from messagebroker.db import inspection, restoring, schema
from messagebroker.db.connection import connected
from messagebroker.errors import ConfigurationError
from messagebroker.ops import audit_chain, clock, dump, failures, installation, recovery
from messagebroker.ops.archive import Archive, Manifest, Progress, Writer, silent
from messagebroker.settings import Settings

_NAME = re.compile(r"(backup|before_restore)_\d{8}_\d{6}\.zip")
_ABANDONED_SECONDS = 24 * 3600
BACKUP = "backup"
BEFORE_RESTORE = "before_restore"
"""What the name of a copy begins with that `backup restore` makes of the database it is about to replace."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A backup in BACKUP_DIR."""

    path: Path
    size: int
    manifest: Manifest | None  # None: it cannot be read
    problem: str | None = None

    @property
    def messages(self) -> int | None:
        """Rows of `messages` inside."""
        return self.manifest.rows.get("messages", 0) if self.manifest else None


def create(settings: Settings, progress: Progress = silent) -> Path:
    """A new backup, checked by reading it back before it gets its name.

    Raises:
        ConfigurationError: no recovery key, no dump program, or BACKUP_DIR cannot be written.
        Unavailable: the database does not answer.
    """
    key = recovery.public_key(settings)
    path = _new_path(settings, BACKUP)
    with Writer(path, key) as writer:
        manifest = _database(settings, writer, progress)
        _files(settings, writer)
        writer.finish(manifest(recovery.key_id(key)))
        _check_and_name(writer, progress)
    return path


def copy_database(settings: Settings, progress: Progress = silent) -> Path:
    """A copy of the database alone, without files or secrets, for `restore` to go back to."""
    path = _new_path(settings, BEFORE_RESTORE)
    with Writer(path, None) as writer:
        manifest = _database(settings, writer, progress)
        writer.finish(manifest(None))
        _check_and_name(writer, progress)
    return path


def list_all(settings: Settings) -> list[Listed]:
    """Every backup in BACKUP_DIR, the newest first; only manifests are read."""
    folder = settings.path(settings.backup_dir)
    paths = [path for path in folder.glob("*.zip") if _NAME.fullmatch(path.name)] if folder.is_dir() else []
    return [_listed(path) for path in sorted(paths, key=lambda path: path.stem[-len("YYYYMMDD_HHMMSS") :], reverse=True)]


def find(settings: Settings, name: str) -> Path:
    """The path of a backup: as given, or of that name in BACKUP_DIR."""
    given = Path(name)
    return given if given.exists() or given.is_absolute() else settings.path(settings.backup_dir) / name


def verify(path: Path, progress: Progress = silent) -> Manifest:
    """Reads a whole backup and compares it with its manifest.

    Raises:
        NotFound, Refused: with what is wrong with it.
    """
    with Archive(path) as archive:
        archive.check(progress)
        return archive.manifest


def _listed(path: Path) -> Listed:
    size = path.stat().st_size
    try:
        with Archive(path) as archive:
            return Listed(path=path, size=size, manifest=archive.manifest)
    except Exception as error:  # noqa: BLE001 - one unreadable backup must not hide the others
        return Listed(path=path, size=size, manifest=None, problem=str(error))


def _new_path(settings: Settings, prefix: str) -> Path:
    folder = settings.path(settings.backup_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(f"BACKUP_DIR {folder} cannot be made: {error}") from error
    _remove_remains(folder)
    moment = clock.now().astimezone(ZoneInfo(settings.schedule_timezone))
    while (path := folder / f"{prefix}_{moment:%Y%m%d_%H%M%S}.zip").exists():
        moment += timedelta(seconds=1)
    return path


def _remove_remains(folder: Path) -> None:
    """Of backups whose process was killed."""
    for path in folder.glob("*.zip.partial"):
        if clock.now().timestamp() - path.stat().st_mtime > _ABANDONED_SECONDS:
            path.unlink(missing_ok=True)


def _database(settings: Settings, writer: Writer, progress: Progress) -> Callable[[str | None], Manifest]:
    """Writes the dump; the rest of the manifest is known only when all members are written."""
    created_at = clock.now()
    with connected():
        server, applied = inspection.server(), list(schema.status().applied)
        of_an_older_program = "audit_seals" not in inspection.tables()
        audit_head = None if of_an_older_program else audit_chain.head()  # before the dump, which has it then
        master_keys = restoring.master_keys()
    name = dump.member_name(settings)
    with writer.member(name) as stream:
        rows = dump.write(settings, stream, progress, scratch=writer.path.parent)
    with connected():
        master_keys |= {*restoring.master_keys(), *filter(None, failures.master_keys())}
    return lambda recovery_key: Manifest(
        created_at=created_at,
        version=__version__,
        host=socket.gethostname(),
        database="sqlite" if settings.is_sqlite else "mysql",
        server=server,
        dump=name,
        schema=applied,
        rows=rows,
        recovery_key=recovery_key,
        members=writer.members,
        audit_head=audit_head,
        master_keys=sorted(key.hex() for key in master_keys),
    )


def _files(settings: Settings, writer: Writer) -> None:
    for name, data, secret in _contents(settings):
        if secret:
            writer.add_sealed(name, data)
        else:
            writer.add(name, data)


def _contents(settings: Settings) -> Iterator[tuple[str, bytes, bool]]:
    yield installation.SUMMARY, installation.settings_summary(settings), False
    yield installation.SETTINGS, installation.settings_text(settings), True
    for file in installation.files(settings):
        yield file.name, file.path.read_bytes(), file.secret


def _check_and_name(writer: Writer, progress: Progress) -> None:
    verify(writer.partial, progress)
    writer.partial.replace(writer.path)
