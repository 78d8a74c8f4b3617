"""The roles as systemd services."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from messagebroker.errors import NotFound, Refused
from messagebroker.ops.services import systemd_install
from messagebroker.ops.services.manager import StartType, State, Word
from messagebroker.ops.services.plan import HEALTH_WAIT_SECONDS, PLAN_OF, PLANS
from messagebroker.ops.services.programs import Programs, Run

PROPERTIES = "Id,LoadState,ActiveState,SubState,UnitFileState,NRestarts,Result,ExecMainStatus,StateChangeTimestampMonotonic"
MARGIN_SECONDS = 30.0  # of systemctl itself, beside the time that a role has
START_SECONDS = HEALTH_WAIT_SECONDS + 30 + MARGIN_SECONDS
HEALTH_SECONDS = 15.0
_STATES: dict[str, Word] = {
    "active": "running",
    "reloading": "running",
    "activating": "starting",
    "deactivating": "stopping",
    "inactive": "stopped",
    "failed": "failed",
}
_START_TYPES: dict[str, StartType] = {"enabled": "automatic", "enabled-runtime": "automatic", "masked": "disabled"}

Asking = Callable[[str, Path, Mapping[str, str]], Run]
"""What runs a role's health check: made from the account, the working directory and the variables of its unit."""


class Systemd:
    """Drives the units of `systemd_units` with systemctl.

    Args:
        root: the installation that `install` makes units for.
        run: runs systemctl; for tests.
        asking: see `Asking`; for tests.
    """

    home = "systemd"
    can_stop_alone = True

    def __init__(self, root: Path, run: Run | None = None, asking: Asking | None = None) -> None:
        self._root = root
        self._run: Run = run or Programs()
        self._asking = asking or _as_account

    def states(self) -> list[State]:
        """See `Manager`."""
        text = self._run(["systemctl", "show", *map(unit_of, PLAN_OF), f"--property={PROPERTIES}"]).out
        found = {values.get("Id", ""): values for values in map(_properties, text.strip().split("\n\n"))}
        return [_state(plan.role, found.get(unit_of(plan.role), {})) for plan in PLANS]

    def start(self, role: str, *, alone: bool = False) -> None:
        """See `Manager`. Returns when the unit's own wait for readiness has ended."""
        words = ["start", *(["--job-mode=ignore-dependencies"] if alone else []), unit_of(role)]
        self._change(words, START_SECONDS)

    def stop(self, role: str, *, seconds: float, force: bool = False) -> None:
        """See `Manager`. systemd kills what does not stop in time."""
        self._change(["stop", unit_of(role)], seconds + MARGIN_SECONDS)

    def restart(self, role: str, *, seconds: float, force: bool = False) -> None:
        """See `Manager`."""
        self._change(["restart", unit_of(role)], seconds + START_SECONDS)

    def readiness(self, role: str, *, wait: float = 0) -> str | None:
        """See `Manager`. The unit's own program asks, as the unit's account, in its folder and with its variables."""
        names = "--property=WorkingDirectory,Environment,ExecStart,User"
        unit = _properties(self._run(["systemctl", "show", unit_of(role), names]).out)
        program = re.search(r"\bpath=(\S+)", unit.get("ExecStart", ""))
        if program is None:
            raise NotFound(f"{unit_of(role)} is not installed; `messagebroker services install` makes it")
        variables = dict(word.split("=", 1) for word in shlex.split(unit.get("Environment", "")))
        ask = self._asking(unit.get("User", ""), Path(unit["WorkingDirectory"]), variables)
        waiting = ("--wait", f"{wait:.0f}") if wait else ()
        answer = ask([program[1], *PLAN_OF[role].health, *waiting], seconds=wait + HEALTH_SECONDS, check=False)
        return None if answer.code == 0 else answer.words or f"its health check ended with {answer.code}"

    def install(self, *, account: str | None = None) -> list[str]:
        """See `Manager`."""
        if account is not None:
            raise Refused("with systemd every role has an account of its own; leave --account out")
        require_root("installing units")
        return systemd_install.install(self._root, self._run)

    def uninstall(self) -> list[str]:
        """See `Manager`."""
        require_root("removing units")
        return systemd_install.uninstall(self._run)

    def _change(self, words: list[str], seconds: float) -> None:
        require_root(f"`systemctl {' '.join(words)}`")
        answer = self._run(["systemctl", *words], seconds=seconds, check=False)
        if answer.code == 0:
            return
        if "not found" in answer.err or "not loaded" in answer.err:
            raise NotFound(f"{words[-1]} is not installed; `messagebroker services install` makes it")
        raise Refused(f"{words[-1]}: {answer.words}; `journalctl -u {words[-1]} -n 50` says more")


def unit_of(role: str) -> str:
    """The unit's name."""
    return f"{PLAN_OF[role].unit}.service"


def require_root(what: str) -> None:
    """Only root may change units.

    Raises:
        Refused: this is somebody else.
    """
    if os.geteuid() != 0:
        raise Refused(f"{what} needs root; put `sudo` before the command")


def _as_account(account: str, folder: Path, variables: Mapping[str, str]) -> Run:
    """The role's own rights, so that the answer is the one it would get itself; an operator who is not root asks as that."""
    mine = os.geteuid() != 0 or not account
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **variables}
    return Programs(folder=folder, environment=environment, user=None if mine else account)


def _properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _state(role: str, values: Mapping[str, str]) -> State:
    unit = unit_of(role)
    if values.get("LoadState") in (None, "not-found"):
        return State(role=role, unit=unit, state="missing")
    state = _STATES.get(values.get("ActiveState", ""), "failed")
    detail = ""
    if values.get("SubState") == "auto-restart":
        state, detail = "failed", f"ended by {_reason(values)}, will be started again"
    elif state == "failed":
        detail = f"ended by {_reason(values)}; `journalctl -u {unit} -n 50` says more"
    return State(
        role=role,
        unit=unit,
        state=state,
        start_type="disabled" if values.get("LoadState") == "masked" else _START_TYPES.get(values["UnitFileState"], "manual"),
        since=_moment(values.get("StateChangeTimestampMonotonic", "")),
        restarts=int(values.get("NRestarts") or 0),
        detail=detail,
    )


def _reason(values: Mapping[str, str]) -> str:
    result, code = values.get("Result", "?"), values.get("ExecMainStatus", "0")
    return f"{result} (exit code {code})" if result == "exit-code" else result


def _moment(microseconds: str) -> datetime | None:
    """From systemd's monotonic clock, the one that every language and time zone prints alike."""
    if not microseconds.isdigit() or microseconds == "0":
        return None
    ago = time.clock_gettime(time.CLOCK_MONOTONIC) - int(microseconds) / 1e6
    return (datetime.now(UTC) - timedelta(seconds=ago)).replace(microsecond=0)
