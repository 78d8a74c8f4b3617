"""The system itself: its state, its settings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, field

from messagebroker.client.answers import Queue
from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import NOBODY, Caller, Page, get


class Setting(Struct, frozen=True, kw_only=True):
    """A setting of main's; of a secret only whether it was given."""

    name: str
    value: str | int | float | bool | None = None
    given: bool = False
    secret: bool = False


class RunningRole(Struct, frozen=True, kw_only=True):
    """`processes` is None for a role that does not show itself in the database."""

    role: str
    processes: int | None = None
    leaders: int | None = None


class Ending(Struct, frozen=True, kw_only=True):
    """A certificate that ends within 30 days."""

    name: str
    kind: str
    serial: str
    not_after: datetime
    days_left: int


class Backup(Struct, frozen=True, kw_only=True):
    """The last one; `problem` says why it cannot be read."""

    name: str
    bytes: int
    created_at: datetime | None = None
    messages: int | None = None
    problem: str | None = None


class Job(Struct, frozen=True, kw_only=True):
    """A periodic one."""

    name: str
    due_at: datetime
    last_finished_at: datetime | None = None
    last_result: str | None = None


class SystemStatus(Struct, frozen=True, kw_only=True):
    """The system at one moment. `redis_problem` None: Redis answers."""

    version: str
    now: datetime
    database: str
    redis_problem: str | None = None
    roles: list[RunningRole] = field(default_factory=list)
    queues: list[Queue] = field(default_factory=list)
    ingest_failures: int = 0
    open_breakers: int = 0
    certificates: list[Ending] = field(default_factory=list)
    last_backup: Backup | None = None
    jobs: list[Job] = field(default_factory=list)
    policy_number: int = 0


def settings(caller: Caller) -> Call[Page[Setting]]:
    """Main's settings in force, all of them."""
    return get(caller, "/api/v1/settings", _SETTINGS)


def status(caller: Caller) -> Call[SystemStatus]:
    """One look instead of five."""
    return get(caller, "/api/v1/status", _STATUS)


def health(path: str = "/health", *, caller: Caller = NOBODY) -> Call[dict[str, Any]]:
    """Whether main answers; `/health/ready` whether it can work. Needs no token."""
    return get(caller, path, _OBJECT)


class SystemMethods:
    """Of the clients."""

    settings = Method(settings)
    status = Method(status)
    health = Method(health)


_SETTINGS = reader(Page[Setting])
_STATUS = reader(SystemStatus)
_OBJECT = reader(dict[str, Any])
