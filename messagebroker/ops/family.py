"""The roles of the table as children of a supervisor."""

from __future__ import annotations

import os
from collections.abc import Callable

from messagebroker.ops import health, interpreter
from messagebroker.ops.supervisor import Child
from messagebroker.roles import ROLES, Role
from messagebroker.settings import WITH_DATABASE, Settings

MARGIN_SECONDS = 5.0  # a role ends its own stop in time; this is for the process around it


def family(settings: Settings) -> list[Child]:
    """One child for each role, in start order."""
    return [
        Child(
            name=role.name,
            command=interpreter.command("-m", "messagebroker", *role.command, "--supervised"),
            environment={**environment(settings, role), **interpreter.variables()},
            output=settings.data_dir.absolute() / "output" / f"{role.name}.txt",
            stop_seconds=role.stop_seconds + MARGIN_SECONDS,
            needs=role.needs,
            is_ready=_readiness(settings, role),
        )
        for role in ROLES
    ]


def environment(settings: Settings, role: Role) -> dict[str, str]:
    """This process' variables, without the database for roles that must not know it."""
    values = {**os.environ, "DATA_DIR": str(settings.data_dir.absolute())}
    if role.name not in WITH_DATABASE:
        values.pop("DATABASE_URL_FILE", None)
        values["DATABASE_URL"] = ""  # empty, not absent: it hides the one in a .env file
    return values


def _readiness(settings: Settings, role: Role) -> Callable[[int], str | None]:
    def is_ready(pid: int) -> str | None:
        found = health.check(settings, role.name, pid=pid)
        return None if found.ready else found.said

    return is_ready
