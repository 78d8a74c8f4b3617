"""Doctor: secrets on disk, and backups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from messagebroker.errors import BrokerError
from messagebroker.ops import backup, clock, keyring, recovery
from messagebroker.ops.findings import Finding, Findings
from messagebroker.ops.private_files import CHECKS_RIGHTS, is_private
from messagebroker.settings import Settings

_OLD = timedelta(hours=25)


def secrets(settings: Settings) -> Iterator[Finding]:
    """Readable by this user, of the right kind, and by nobody else."""
    findings = Findings("secrets")
    make = "`messagebroker setup` or `messagebroker up` makes it on a new installation; else bring it back from a backup"
    files: tuple[tuple[str, Path, Callable[[], object]], ...] = (
        ("private master keys", settings.path(settings.encryption_key_path), lambda: keyring.KeyRing.load(settings)),
        ("sender key", settings.path(settings.sender_key_path), lambda: keyring.sender_key(settings)),
        ("main's secret", settings.path(settings.main_secret_path), lambda: keyring.derived_key(settings, "doctor")),
        ("public recovery key", settings.path(settings.recovery_key_path), lambda: recovery.public_key(settings)),
    )
    for name, path, read in files:
        try:
            read()
        except BrokerError as error:
            yield findings.error(f"{name}: {error}", make)
            continue
        if path.suffix != ".pub" and not is_private(path):
            yield findings.error(f"{name}: others on this machine may read {path}", f"chmod 600 {path}")
        else:
            yield findings.ok(f"{name}: {path}")
    folder = settings.data_dir.absolute()
    if settings.is_sqlite and folder.exists() and not is_private(folder):
        yield findings.warning(f"others on this machine may look into {folder}, where the database is", f"chmod 700 {folder}")
    if not CHECKS_RIGHTS:
        folder = settings.path(Path("secrets"))
        yield findings.warning(
            "who may read keys was not checked: Windows keeps that in access lists", f'look at `icacls "{folder}"`'
        )


def backups(settings: Settings) -> Iterator[Finding]:
    """The newest backup is readable and of today."""
    findings = Findings("backups")
    fix = "`messagebroker backup create`; every night main makes one (BACKUP_SCHEDULE)"
    made = [one for one in backup.list_all(settings) if one.path.name.startswith(backup.BACKUP)]
    for one in made:
        if one.problem is not None:
            yield findings.error(f"{one.path.name}: {one.problem}", "move the file away; `messagebroker backup create`")
    good = [one for one in made if one.manifest is not None]
    if not good or good[0].manifest is None:
        yield findings.warning(f"there is no backup in {settings.path(settings.backup_dir)}", fix)
        return
    age = clock.now() - good[0].manifest.created_at
    text = f"the newest backup, {good[0].path.name}, is {age.total_seconds() / 3600:.0f} hours old"
    yield findings.warning(text, fix) if age > _OLD else findings.ok(text)
