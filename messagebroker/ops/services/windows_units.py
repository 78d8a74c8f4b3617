"""What the service manager of Windows is told about each role: one unit a role, made from the plan, carried out elsewhere."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PureWindowsPath

from messagebroker.ops.services.plan import PLANS, ServicePlan

HOST_MODULE = "messagebroker.cli.windows_service"
RESET_SECONDS = 86_400
"""After so long without a failure the delays begin with the first one again."""

SHUTDOWN_MARGIN_SECONDS = 10
"""On top of the stop timeout, that a shutdown of the machine waits for the service."""


@dataclass(frozen=True, kw_only=True)
class WindowsUnit:
    """One service as Windows keeps it. It starts by itself, some time after the machine ("delayed")."""

    role: str
    name: str
    display_name: str
    description: str
    image: str  # the command line that the service manager starts
    needs: tuple[str, ...]  # names of services that start before
    account: str
    restart_seconds: tuple[int, ...]  # after the first, second and every later failure; an error exit is a failure too
    shutdown_seconds: int  # that a shutdown of the machine waits for it


def units(
    root: PureWindowsPath, python: PureWindowsPath, servers: Mapping[str, str], account: str | None = None
) -> tuple[WindowsUnit, ...]:
    """The unit of every role, in the table's order.

    Args:
        root: of the installation.
        python: of the virtual environment; the program of all services.
        servers: "mysql" and "redis" -> the name of the service on this machine; without one where it runs elsewhere.
        account: runs all of them; None: each has its own virtual account.
    """
    return tuple(unit(plan, root, python, servers, account) for plan in PLANS)


def unit(
    plan: ServicePlan, root: PureWindowsPath, python: PureWindowsPath, servers: Mapping[str, str], account: str | None = None
) -> WindowsUnit:
    """The unit of one role."""
    names = {other.role: other.name for other in PLANS} | dict(servers)
    return WindowsUnit(
        role=plan.role,
        name=plan.name,
        display_name=plan.display_name,
        description=f"{plan.summary[0].upper()}{plan.summary[1:]}.",
        image=image(plan, root, python),
        needs=tuple(names[need] for need in plan.needs if need in names),
        account=account or virtual_account(plan),
        restart_seconds=plan.restart_seconds,
        shutdown_seconds=plan.stop_seconds + SHUTDOWN_MARGIN_SECONDS,
    )


def virtual_account(plan: ServicePlan) -> str:
    """An account without a password that exists with the service and has no rights but those it is given."""
    return f"NT SERVICE\\{plan.name}"


def image(plan: ServicePlan, root: PureWindowsPath, python: PureWindowsPath) -> str:
    """The command line: python.exe itself, which reads neither PYTHON… variables nor the current folder (-I).

    The program is quoted in any case: of `C:\\Program Files\\x.exe` Windows would try `C:\\Program.exe` first.
    """
    variables = [word for name, value in plan.environment(root).items() for word in ("--set", f"{name}={value}")]
    words = ["-I", "-m", HOST_MODULE, *plan.command, "--root", str(root), *variables]
    return f'"{python}" {subprocess.list2cmdline(words)}'


def words(image: str) -> list[str]:
    """The words of a command line that `image` made."""
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', image)]
