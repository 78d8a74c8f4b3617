"""`db upgrade` and `db status`: which migrations the database has, and bringing it to this program's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import peewee as pw

from messagebroker.db.connection import NoDatabase, SQLite, connected, database, is_mysql
from messagebroker.errors import ConfigurationError, Conflict

if TYPE_CHECKING:
    from peewee_migrate import Router

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = "messagebroker.schema"
_HISTORY = "migratehistory"  # peewee-migrate's table
_KNOWN_TO_ALL = ["CHARACTER SET utf8mb4", "COLLATE utf8mb4_unicode_ci"]
"""Every server's own default is unknown to others, so a dump would load nowhere else."""


@dataclass(frozen=True, kw_only=True)
class SchemaStatus:
    """Names of migrations, in order."""

    applied: tuple[str, ...]
    missing: tuple[str, ...]  # known to this program, not in the database
    unknown: tuple[str, ...]  # in the database, not known to this program: it is newer
    absent: Path | None = None  # the SQLite file that is not there

    @property
    def is_current(self) -> bool:
        """True when the roles may serve."""
        return not self.missing and not self.unknown


def status() -> SchemaStatus:
    """What the database has, compared with what this program knows. Makes no database."""
    try:
        with connected():
            return _status()
    except NoDatabase as error:
        return SchemaStatus(applied=(), missing=known(), unknown=(), absent=error.path)


def known() -> tuple[str, ...]:
    """The migrations of this program, in order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("[0-9]*.py")))


def _router() -> Router:
    from peewee_migrate import Router  # loads unittest and more, which no role needs once the schema is there
    from peewee_migrate.models import MigrateHistory

    MigrateHistory._meta.table_settings = _KNOWN_TO_ALL if is_mysql() else None
    return Router(database.obj, migrate_dir=_FOLDER)


def _status() -> SchemaStatus:
    applied = _applied()
    return SchemaStatus(
        applied=applied,
        missing=tuple(name for name in known() if name not in applied),
        unknown=tuple(name for name in applied if name not in known()),
    )


def _applied() -> tuple[str, ...]:
    if not database.table_exists(_HISTORY):
        return ()
    history = pw.Table(_HISTORY)
    return tuple(name for (name,) in history.bind(database).select(history.c.name).order_by(history.c.id).tuples())


def upgrade() -> SchemaStatus:
    """Applies what is missing, under a lock so that two starts at once do it once. Makes SQLite's file and its folder.

    Raises:
        Conflict: another process holds the lock for over a minute.
        ConfigurationError: the database belongs to a newer program.
    """
    make_file()
    with connected(), _lock():
        _refuse_newer(_status())
        _router().run()
        return _status()


def make_file() -> None:
    """SQLite's file and its folder, where there are none; the file is empty then.

    Raises:
        ConfigurationError: this account may not.
    """
    if isinstance(database.obj, SQLite):
        path = database.obj.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            raise ConfigurationError(
                f"cannot make the database {path} (DATABASE_URL, else DATA_DIR, say where): {error.strerror}"
            ) from error


def require_current() -> None:
    """Roles call this before they serve.

    Raises:
        ConfigurationError: the schema is older or newer than this program.
    """
    found = status()
    _refuse_newer(found)
    if found.absent:
        raise ConfigurationError(str(NoDatabase(found.absent)))
    if found.missing:
        raise ConfigurationError(f"the database lacks {', '.join(found.missing)}; run `messagebroker db upgrade`")


def _refuse_newer(found: SchemaStatus) -> None:
    if found.unknown:
        raise ConfigurationError(
            f"the database has {', '.join(found.unknown)}, which this version does not know; install the newer version"
        )


@contextmanager
def _lock() -> Iterator[None]:
    if is_mysql():
        held = database.execute_sql("SELECT GET_LOCK(%s, 60)", (_LOCK,)).fetchone()[0]
        if held != 1:
            raise Conflict("another process has been upgrading the database for a minute; see `messagebroker db status`")
        try:
            yield
        finally:
            database.execute_sql("SELECT RELEASE_LOCK(%s)", (_LOCK,))
    else:
        with _file_lock(Path(database.obj.database).with_suffix(".upgrade-lock")):
            yield


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    guard = pw.SqliteDatabase(str(path), timeout=60)
    try:
        guard.connect()
        guard.execute_sql("BEGIN EXCLUSIVE")  # SQLite's own lock: released by the system when the process dies
    except pw.OperationalError as error:
        raise Conflict("another process has been upgrading the database for a minute; see `messagebroker db status`") from error
    try:
        yield
    finally:
        guard.rollback()
        guard.close()
