"""GET /api/v1/settings and /api/v1/status: what the system is set to, and how it is."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import falcon
import msgspec
import redis as redis_py

from messagebroker.http.decoding import answer
from messagebroker.http.main.callers import Right
from messagebroker.http.main.queue_stats import QueueView
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.ops import status
from messagebroker.ops.permissions import Permission
from messagebroker.settings import Settings, is_secret


class SettingView(msgspec.Struct, kw_only=True):
    """A setting of main's. Of a secret nothing is told but whether it is set. `given`: by a variable or a file."""

    name: str
    value: str | int | float | bool | None
    given: bool
    secret: bool


class SettingsAnswer(msgspec.Struct, kw_only=True):
    """Every setting, in the order of the documentation; `next` is always null."""

    items: list[SettingView]
    next: None = None


class EffectiveSettings:
    """As main was started with them: another role may have been started with others."""

    rights: ClassVar = {"GET": Right(permission=Permission.SETTINGS_READ)}
    operations: ClassVar = (
        Operation(
            "GET", "/api/v1/settings", "The settings in force", responses={200: SettingsAnswer}, security=TOKEN,
            tag="operations", description="Values of secrets are never told, nor addresses that may hold a password.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._answer = SettingsAnswer(items=[_view(settings, name) for name in Settings.model_fields])

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """The same until main is started again."""
        answer(response, self._answer)


def _view(settings: Settings, name: str) -> SettingView:
    given = name in settings.model_fields_set
    if is_secret(name):
        return SettingView(name=name.upper(), value=None, given=given, secret=True)
    value: Any = getattr(settings, name)
    plain = value if value is None or isinstance(value, str | int | float | bool) else str(value)
    shown = value.as_posix() if isinstance(value, Path) else plain
    return SettingView(name=name.upper(), value=shown, given=given, secret=False)


class RoleView(msgspec.Struct, kw_only=True):
    """`processes` null: the role has no database to show itself in; its own /health tells."""

    role: str
    processes: int | None
    leaders: int | None


class EndingView(msgspec.Struct, kw_only=True):
    """The newest certificate of a name, when it ends within 30 days or has ended."""

    name: str
    kind: str
    serial: str
    not_after: datetime
    days_left: int


class BackupView(msgspec.Struct, kw_only=True):
    """The newest backup. `problem`: why it cannot be read."""

    name: str
    bytes: int
    created_at: datetime | None
    messages: int | None
    problem: str | None


class JobView(msgspec.Struct, kw_only=True):
    """A periodic job."""

    name: str
    due_at: datetime
    last_finished_at: datetime | None
    last_result: str | None


class StatusAnswer(msgspec.Struct, kw_only=True):
    """The system at one moment. `redis_problem` null: Redis answers; otherwise `queues` is empty."""

    version: str
    now: datetime
    database: str
    redis_problem: str | None
    roles: list[RoleView]
    queues: list[QueueView]
    ingest_failures: int
    open_breakers: int
    certificates: list[EndingView]
    last_backup: BackupView | None
    jobs: list[JobView]
    policy_number: int


class SystemStatus:
    """For operators: one look instead of five."""

    rights: ClassVar = {"GET": Right(permission=Permission.STATUS_READ)}
    operations: ClassVar = (
        Operation(
            "GET", "/api/v1/status", "The state of the system", responses={200: StatusAnswer}, security=TOKEN, tag="operations"
        ),
    )

    def __init__(self, settings: Settings, redis: redis_py.Redis) -> None:
        self._settings = settings
        self._redis = redis

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """As it is now."""
        answer(response, msgspec.convert(status.look(self._settings, self._redis), StatusAnswer, from_attributes=True))
