"""Doctor: the machine itself, its disks and its clock."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import peewee as pw
import redis as redis_py

from messagebroker.db import inspection
from messagebroker.db.connection import connected, open_database
from messagebroker.errors import BrokerError
from messagebroker.ops import clock, logs
from messagebroker.ops.findings import Finding, Findings
from messagebroker.ops.redis_client import connect
from messagebroker.settings import Settings

GIB, MIB = 1 << 30, 1 << 20
_WARN_SECONDS, _WRONG_SECONDS = 1.0, 5.0


def disk(settings: Settings) -> Iterator[Finding]:
    """Space where data, backups and logs go, and the right to write there."""
    findings = Findings("disk")
    for name, path in _folders(settings):
        existing = next(folder for folder in (path, *path.parents) if folder.exists())
        if not os.access(existing, os.W_OK | os.X_OK):
            yield findings.error(f"{name} {path} cannot be written by this user", f"chown or chmod {existing}, or set {name}")
            continue
        usage = shutil.disk_usage(existing)
        if name == "LOG_FILE_PATH" and usage.total < GIB:  # made for logs, which never grow beyond what is kept of them
            yield _space_for_logs(findings, f"{name} {path}", usage.free + _size(existing))
            continue
        yield _space(findings, f"{name} {path}", usage.free, usage.total)


def _folders(settings: Settings) -> Iterator[tuple[str, Path]]:
    yield "DATA_DIR", settings.data_dir.absolute()
    yield "BACKUP_DIR", settings.path(settings.backup_dir)
    if settings.log_file_path is not None:
        yield "LOG_FILE_PATH", settings.path(settings.log_file_path)


def _space(findings: Findings, what: str, free: int, total: int) -> Finding:
    share = free / total
    text = f"{what}: {free / GIB:.1f} GiB free of {total / GIB:.0f} ({share:.0%})"
    fix = "free some space, or move it to a larger disk; `messagebroker cleanup` removes old messages"
    if free < GIB or (share < 0.1 and free < 10 * GIB):
        return findings.error(text, fix)
    if share < 0.3 and free < 10 * GIB:
        return findings.warning(text, fix)
    return findings.ok(text)


def _space_for_logs(findings: Findings, what: str, room: int) -> Finding:
    needed = logs.FILE_BYTES * (logs.FILES_KEPT + 1)
    text = f"{what}: room for {room / MIB:.0f} MiB of logs, a role keeps {needed / MIB:.0f}"
    return findings.ok(text) if room >= needed else findings.error(text, "give that file system more, or set LOG_FILE_PATH")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def clocks(settings: Settings) -> Iterator[Finding]:
    """This machine's clock against those of Redis and the database; leases and policies depend on them."""
    findings = Findings("clock")
    others = {"Redis": _redis_time} | ({} if settings.is_sqlite else {"the database": _database_time})
    for name, ask in others.items():
        before = clock.now()
        try:
            theirs = ask(settings)
        except (BrokerError, redis_py.RedisError, pw.PeeweeException):
            continue  # its own check says so
        after = clock.now()
        middle = before + (after - before) / 2
        yield _difference(findings, name, (middle - theirs).total_seconds())


def _difference(findings: Findings, name: str, seconds: float) -> Finding:
    text = f"this machine is {abs(seconds):.2f} s {'ahead of' if seconds > 0 else 'behind'} {name}"
    fix = "let NTP set the clocks of both machines (Windows: `w32tm /resync`; Linux: `timedatectl set-ntp true`)"
    if abs(seconds) > _WRONG_SECONDS:
        return findings.error(text, fix)
    return findings.warning(text, fix) if abs(seconds) > _WARN_SECONDS else findings.ok(text)


def _redis_time(settings: Settings) -> datetime:
    with connect(settings) as client:
        seconds, micros = _as_pair(client.time())
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)


def _as_pair(answer: object) -> tuple[int, int]:
    assert isinstance(answer, tuple)
    return int(answer[0]), int(answer[1])


def _database_time(settings: Settings) -> datetime:
    open_database(settings)
    with connected():
        return inspection.clock()
