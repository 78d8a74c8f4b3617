"""Bringing a backup back: everything is checked before anything is touched, and what it replaces is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import peewee as pw
import structlog

from messagebroker.db import inspection, schema
from messagebroker.db import restoring as tables
from messagebroker.db.connection import NoDatabase, connected
from messagebroker.errors import BrokerError, Refused, Unavailable
from messagebroker.ops import audit, backup, clock, dump, heartbeats, ports, recovery, restore_after
from messagebroker.ops.archive import SEALED, Archive, Manifest, Progress, silent
from messagebroker.ops.restore_files import FileChange, FilePlan
from messagebroker.roles import ROLES
from messagebroker.settings import WITH_DATABASE, Settings

_ALIVE = timedelta(seconds=15)
"""A role whose heartbeat is younger still runs."""
_log = structlog.get_logger("messagebroker.restore")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a restore would do, for the person who has to say yes."""

    path: Path
    manifest: Manifest
    rows_now: dict[str, int]  # of the database that is replaced; empty: it holds nothing
    files: tuple[FileChange, ...]
    replaces_ca: bool
    running: tuple[str, ...]  # roles that still run: only with force


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What a restore did."""

    rows: dict[str, int]
    database_aside: Path | None  # a copy of the database as it was
    files_aside: Path | None  # a folder with the files that were replaced
    notes: tuple[str, ...]  # what is left to do, in sentences


def restore(
    settings: Settings,
    path: Path,
    recovery_key: str | None,
    *,
    force: bool = False,
    confirm: Callable[[Plan], bool] = lambda plan: True,
    progress: Progress = silent,
    actor: str = "cli",
) -> Restored:
    """Restores a backup into the open database and the installation's folders; without a key into the database alone.

    Raises:
        Refused: the backup is damaged, of another kind of database or a newer program, the key is not its key,
            roles still run (unless `force`), or `confirm` said no. Nothing was changed then.
        Unavailable: the database failed meanwhile; the sentence says what state it is in.
    """
    with Restore(settings, path, recovery_key, progress) as work:
        if not force:
            work.refuse_running()
        if not confirm(work.plan):
            raise Refused("nothing was changed")
        return work.carry_out(actor, progress, force=force)


class Restore:
    """A backup, opened and found good, with the plan of what it will do here.

    Args:
        settings: of the installation.
        path: of the backup.
        recovery_key: opens its files. None: only the database is brought back, to the keys that are here.
        progress: is told what goes on.
    """

    def __init__(self, settings: Settings, path: Path, recovery_key: str | None, progress: Progress = silent) -> None:
        self._settings = settings
        self._is_whole = recovery_key is not None
        self._progress = progress
        self._scratch = settings.path(settings.backup_dir)
        self._archive = Archive(path)
        self._notes: list[str] = []
        try:
            self._archive.check(progress)
            self._refuse_unfit()
            self._files = FilePlan(settings, {} if recovery_key is None else self._opened_files(recovery_key))
            self.plan = self._planned()
        except BaseException:
            self._archive.__exit__(None, None, None)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._archive.__exit__(kind, error, trace)

    def refuse_running(self) -> None:
        """Roles would go on with what they remember of the replaced database.

        Raises:
            Refused: some still run.
        """
        if self.plan.running:
            raise Refused(f"{', '.join(self.plan.running)} still run; stop all roles first (or say --force)")

    def carry_out(self, actor: str, progress: Progress = silent, *, force: bool = False) -> Restored:
        """Does what the plan says."""
        self._progress = progress
        self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        schema.make_file()
        aside = self._keep_database(force)
        revoked = tables.revoked_certificates()
        self._load_or_go_back(aside)
        with connected():
            schema.upgrade()
            tables.after_restore(revoked)
        files_aside = self._settings.path(Path(f"before_restore_{clock.now():%Y%m%d_%H%M%S}"))
        moved = self._files.carry_out(files_aside)
        self._notes += restore_after.notes(self._settings, self.plan.path.name, files_aside)
        audit.record(actor, "backup.restore", "backup", self.plan.path.name, details={"rows": self.plan.manifest.rows})
        return Restored(
            rows=self.plan.manifest.rows,
            database_aside=aside,
            files_aside=files_aside if moved or files_aside.exists() else None,
            notes=tuple(self._notes),
        )

    def _refuse_unfit(self) -> None:
        manifest, ours = self._archive.manifest, "sqlite" if self._settings.is_sqlite else "mysql"
        if manifest.database != ours:
            raise Refused(
                f"{self._archive.path} holds a database of {manifest.server}, DATABASE_URL names one of another kind ({ours}); "
                "restore it where DATABASE_URL names the same kind"
            )
        if unknown := sorted(set(manifest.schema) - set(schema.known())):
            raise Refused(
                f"{self._archive.path} is of a newer program ({', '.join(unknown)}); install version {manifest.version}"
            )
        if not self._settings.is_sqlite:
            dump.require_loader()

    def _opened_files(self, recovery_key: str) -> dict[str, bytes]:
        key = recovery.private_key(recovery_key)
        opened = self._archive.unseal_all(key)
        plain = [name for name in self._archive.manifest.members if not name.endswith(SEALED)]
        return opened | {name: self._archive.read(name) for name in plain if name != self._archive.manifest.dump}

    def _planned(self) -> Plan:
        try:
            rows, beating = _present()
        except NoDatabase:
            rows, beating = {}, set()
        return Plan(
            path=self._archive.path,
            manifest=self._archive.manifest,
            rows_now=rows,
            files=tuple(self._files.effective),
            replaces_ca=self._files.replaces_ca,
            running=tuple(sorted(beating | set(self._listening()))),
        )

    def _listening(self) -> Iterator[str]:
        """Roles that hold a port here, written as those whose hearts beat, so that one which does both is named once."""
        for role in ROLES:
            if not self._is_whole and role.name not in WITH_DATABASE:
                continue  # it has nothing of what is replaced
            port = getattr(self._settings, role.port_setting) if role.port_setting else 0
            holder = ports.holder(port) if port else None
            if holder is not None and holder.role is not None:
                yield _named(holder.role, heartbeats.host(), holder.pid)

    def _keep_database(self, force: bool) -> Path | None:
        if not self.plan.rows_now:
            return None
        try:
            return backup.copy_database(self._settings, self._progress)
        except BrokerError as error:
            if not force:
                raise Refused(
                    f"the present database cannot be copied first ({error}); --force goes on without a copy"
                ) from error
            self._notes.append(f"the database as it was could not be copied: {error}")
            return None

    def _load_or_go_back(self, aside: Path | None) -> None:
        try:
            self._load(self._archive)
        except (BrokerError, pw.PeeweeException, OSError) as error:
            _log.error("restore failed", backup=str(self.plan.path), error=str(error))
            raise Unavailable(f"the backup could not be loaded: {error}; {self._gone_back(aside)}") from error

    def _gone_back(self, aside: Path | None) -> str:
        if aside is None:
            return "the database is incomplete now; restore again once the cause is gone"
        try:
            with Archive(aside) as before:
                self._load(before)
        except (BrokerError, pw.PeeweeException, OSError) as error:
            return f"going back failed too ({error}), so the database is incomplete now; {aside} holds it as it was"
        return f"the database is again as it was ({aside} holds a copy)"

    def _load(self, archive: Archive) -> None:
        manifest = archive.manifest
        if not self._settings.is_sqlite:
            inspection.drop_all_tables()
        with archive.open(manifest.dump) as stream:
            dump.load(self._settings, stream, self._progress, scratch=self._scratch)
        with connected():
            found = inspection.count_rows()
        if found != manifest.rows:
            wrong = [name for name in {*found, *manifest.rows} if found.get(name) != manifest.rows.get(name)]
            raise Unavailable(f"after loading, {', '.join(sorted(wrong))} had another number of rows than in the backup")


def _present() -> tuple[dict[str, int], set[str]]:
    """The rows of the database that is there, by table, and the processes whose hearts beat in it."""
    with connected():
        rows = inspection.count_rows()
        since = inspection.clock() - _ALIVE
        return rows, {_named(row.role, row.host, row.pid) for row in inspection.running_roles(since)}


def _named(role: str, host: str, pid: int) -> str:
    return f"{role} on {host} (pid {pid})"
