"""The whole system at one moment, for people: what runs, what waits, what ends soon. A part that fails is named, not fatal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import redis as redis_py

from messagebroker import __version__
from messagebroker.db import inspection, models
from messagebroker.db.connection import connected
from messagebroker.ops import backup, breaker_events, clock, failures, heartbeats, queues
from messagebroker.ops.queues import QueueDepth
from messagebroker.ops.redis_client import redis_answers
from messagebroker.roles import ROLES
from messagebroker.settings import WITH_DATABASE, Settings

SOON = timedelta(days=30)
_MOST = 100  # certificates that are named


@dataclass(frozen=True, kw_only=True)
class RoleStatus:
    """`processes` and `leaders` are None for roles that have no database to beat in; their own /health tells."""

    role: str
    processes: int | None
    leaders: int | None


@dataclass(frozen=True, kw_only=True)
class EndingCertificate:
    """The newest certificate of a name, when it ends soon or has ended."""

    name: str
    kind: str
    serial: str
    not_after: datetime
    days_left: int


@dataclass(frozen=True, kw_only=True)
class BackupStatus:
    """The newest file in BACKUP_DIR. `problem`: why it cannot be read."""

    name: str
    bytes: int
    created_at: datetime | None
    messages: int | None
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """A periodic job."""

    name: str
    due_at: datetime
    last_finished_at: datetime | None
    last_result: str | None


@dataclass(frozen=True, kw_only=True)
class Status:
    """Everything; `redis_problem` None: it answers."""

    version: str
    now: datetime
    database: str  # kind and version
    redis_problem: str | None
    roles: list[RoleStatus]
    queues: list[QueueDepth]
    ingest_failures: int
    open_breakers: int
    certificates: list[EndingCertificate]
    last_backup: BackupStatus | None
    jobs: list[JobStatus]
    policy_number: int


def look(settings: Settings, redis: redis_py.Redis) -> Status:
    """As it is now.

    Raises:
        Unavailable: the database does not answer.
    """
    problem, depths = redis_answers(redis), []
    if problem is None:
        try:
            depths = queues.depths(redis)
        except redis_py.RedisError as error:
            problem = str(error)
    with connected():
        return Status(
            version=__version__,
            now=clock.now(),
            database=inspection.server(),
            redis_problem=problem,
            roles=_roles(),
            queues=depths,
            ingest_failures=failures.count(),
            open_breakers=breaker_events.count_open(),
            certificates=_ending(),
            last_backup=_newest_backup(settings),
            jobs=_jobs(),
            policy_number=_policy_number(),
        )


def _roles() -> list[RoleStatus]:
    alive = heartbeats.alive()
    found = []
    for role in ROLES:
        beats = role.name in WITH_DATABASE
        here = alive.get(role.name, heartbeats.Alive())
        leads = here.leaders if role.name == "scheduler" else None
        found.append(RoleStatus(role=role.name, processes=here.processes if beats else None, leaders=leads))
    return found


def _ending() -> list[EndingCertificate]:
    """Names whose newest certificate ends soon: one that was renewed is no reason to worry."""
    table, now = models.Certificate, clock.now()
    columns = (table.name, table.kind, table.serial, table.not_after)
    rows = table.select(*columns).where(table.revoked_at.is_null(), table.not_after < now + SOON).order_by(table.not_after)
    renewed = table.select(table.name, table.kind).where(table.revoked_at.is_null(), table.not_after >= now + SOON)
    safe = {(row.kind, row.name) for row in renewed}
    newest = {(row.kind, row.name): row for row in rows if (row.kind, row.name) not in safe}
    return [
        EndingCertificate(
            name=row.name, kind=row.kind, serial=row.serial, not_after=row.not_after, days_left=(row.not_after - now).days
        )
        for row in list(newest.values())[:_MOST]
    ]


def _newest_backup(settings: Settings) -> BackupStatus | None:
    found = next((one for one in backup.list_all(settings) if one.path.name.startswith(backup.BACKUP)), None)
    if found is None:
        return None
    created = found.manifest.created_at if found.manifest else None
    return BackupStatus(
        name=found.path.name, bytes=found.size, created_at=created, messages=found.messages, problem=found.problem
    )


def _jobs() -> list[JobStatus]:
    table = models.PeriodicJob
    return [
        JobStatus(name=row.name, due_at=row.due_at, last_finished_at=row.last_finished_at, last_result=row.last_result)
        for row in table.select().order_by(table.name)
    ]


def _policy_number() -> int:
    row = models.PolicyNumber.get_or_none(models.PolicyNumber.id == 1)
    return int(row.number) if row else 0
