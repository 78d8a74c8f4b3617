"""The roles as Windows services."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil

from messagebroker.errors import NotFound, Unavailable
from messagebroker.ops.services import windows_install
from messagebroker.ops.services.manager import Manager, State
from messagebroker.ops.services.order import stop_order
from messagebroker.ops.services.plan import PLAN_OF, PLANS, ServicePlan
from messagebroker.ops.services.programs import Programs, Run
from messagebroker.ops.services.runs import Runs
from messagebroker.ops.services.windows_control import NEVER_STARTED, Control, Found, ServiceControl

MARGIN_SECONDS = 15.0
"""Of the service manager itself, beside the time that a role has."""

START_SECONDS = 90.0
LOOK_SECONDS = 0.25
HEALTH_SECONDS = 20.0


class WindowsServices:
    """Drives the services of `windows_units`.

    Args:
        root: the installation.
        control: the service manager; for tests.
        run: runs health checks; for tests.
        sleep: waits between two looks; for tests.
    """

    home = "Windows services"
    can_stop_alone = False

    def __init__(
        self,
        root: Path,
        control: Control | None = None,
        run: Run | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._root = root
        self._control: Control = control or ServiceControl()
        self._run = run
        self._sleep = sleep

    def states(self) -> list[State]:
        """See `Manager`."""
        return [self._state(plan) for plan in PLANS]

    def start(self, role: str, *, alone: bool = False) -> None:
        """See `Manager`. What a service needs Windows starts before it, always."""
        name = PLAN_OF[role].name
        self._found(name)
        self._control.start(name)
        state = self._wait(name, "running", START_SECONDS)
        if state != "running":
            raise Unavailable(f"{name} did not start, it is {state}; {where_to_look(self._root, PLAN_OF[role])}")

    def stop(self, role: str, *, seconds: float, force: bool = False) -> None:
        """See `Manager`."""
        name = PLAN_OF[role].name
        found = self._found(name)
        if found.state == "stopped" or self._looks_alive_but_is_not(found):
            return
        self._control.stop(name)
        if self._wait(name, "stopped", seconds + MARGIN_SECONDS) == "stopped":
            return
        if not force:
            raise Unavailable(f"{name} has not stopped after {seconds:.0f} s; wait, or add --force to end its process")
        _end(found.pid)
        self._wait(name, "stopped", MARGIN_SECONDS)

    def restart(self, role: str, *, seconds: float, force: bool = False) -> None:
        """See `Manager`."""
        self.stop(role, seconds=seconds, force=force)
        self.start(role)

    def readiness(self, role: str, *, wait: float = 0) -> str | None:
        """See `Manager`. The health command asks, in the role's folder and with its variables."""
        plan = PLAN_OF[role]
        self._found(plan.name)
        run = self._run or Programs(folder=self._root, environment={**os.environ, **plan.environment(self._root)})
        waiting = ("--wait", f"{wait:.0f}") if wait else ()
        command = [sys.executable, "-I", "-m", "messagebroker", *plan.health, *waiting]
        answer = run(command, seconds=wait + HEALTH_SECONDS, check=False)
        return None if answer.code == 0 else answer.words or f"its health check ended with {answer.code}"

    def install(self, *, account: str | None = None) -> list[str]:
        """See `Manager`. The account's password, where it has one, is in the environment as SERVICE_ACCOUNT_PASSWORD."""
        return windows_install.install(self._root, self._control, account=account)

    def uninstall(self) -> list[str]:
        """See `Manager`."""
        changes = []
        for plan in map(PLAN_OF.__getitem__, stop_order()):
            if self._control.find(plan.name) is None:
                continue
            self.stop(plan.role, seconds=plan.stop_seconds, force=True)
            changes += windows_install.remove(self._control, plan)
        return changes

    def _state(self, plan: ServicePlan) -> State:
        found = self._control.find(plan.name)
        if found is None:
            return State(role=plan.role, unit=plan.name, state="missing")
        word, detail = found.state, ""
        if self._looks_alive_but_is_not(found):
            word, detail = "failed", "its process is gone"
        elif found.state == "stopped" and found.exit_code not in (0, NEVER_STARTED):
            word, detail = "failed", f"ended with error {found.exit_code}; {where_to_look(self._root, plan)}"
        return State(
            role=plan.role,
            unit=plan.name,
            state=word,
            start_type=found.start_type,
            since=_started(found.pid),
            restarts=Runs(plan_home(self._root, plan)).restarts,
            detail=detail,
        )

    def _found(self, name: str) -> Found:
        found = self._control.find(name)
        if found is None:
            raise NotFound(f"{name} is not installed; `messagebroker services install` makes it")
        return found

    def _looks_alive_but_is_not(self, found: Found) -> bool:
        return found.pid != 0 and found.state != "stopped" and not psutil.pid_exists(found.pid)

    def _wait(self, name: str, wanted: str, seconds: float) -> str:
        """Until the service is in that state, or has stopped, or the time is over; the state then."""
        deadline = time.monotonic() + seconds
        while (state := self._found(name).state) not in (wanted, "stopped") and time.monotonic() < deadline:
            self._sleep(LOOK_SECONDS)
        return state


def manager(root: Path) -> Manager:
    """The services of this machine."""
    return WindowsServices(root)


def plan_home(root: Path, plan: ServicePlan) -> Path:
    """The role's own folder."""
    return root / plan.folder


def where_to_look(root: Path, plan: ServicePlan) -> str:
    """For a person whose service does not run."""
    return f"see {root / 'logs' / plan.log_file} and the event log (Application, source {plan.name})"


def _started(pid: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(psutil.Process(pid).create_time(), UTC).replace(microsecond=0) if pid else None
    except psutil.Error:
        return None


def _end(pid: int) -> None:
    """The process and its children: in a virtual environment the first is only a starter."""
    try:
        first = psutil.Process(pid)
        family = [*first.children(recursive=True), first]
    except psutil.NoSuchProcess:
        return
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
