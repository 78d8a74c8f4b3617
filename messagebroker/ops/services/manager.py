"""What a home can do with its services: the part that differs between Windows, systemd and Compose.

`verbs` decides what is started and stopped, and in which order; a manager does it to one role at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

Word = Literal["running", "starting", "stopping", "stopped", "failed", "missing"]
"""`failed`: ended by an error, also while it waits to be started again. `missing`: not installed here."""

StartType = Literal["automatic", "delayed", "manual", "disabled", "-"]
"""Whether it starts with the machine; `delayed`: some time after the others; `-`: not installed."""


@dataclass(frozen=True, kw_only=True)
class State:
    """One unit of a home: a Windows service, a systemd unit, a container (a scaled role has several)."""

    role: str
    unit: str  # the name under which the home knows it
    state: Word
    start_type: StartType = "-"
    since: datetime | None = None  # in UTC; of `state`
    restarts: int | None = None  # automatic ones; None: this home does not count them
    detail: str = ""  # what a person should read beside it: why it failed, "healthy", "not ready: redis …"

    @property
    def runs(self) -> bool:
        """Whether there is a process that somebody may depend on."""
        return self.state in ("running", "starting", "stopping")


class Manager(Protocol):
    """One home. `role` is always a name of roles.py; a role without any unit here is an error that says how to install it.

    Every call may raise `Refused` (the home says no: rights, disabled), `NotFound` (not installed) or `Unavailable` (it does
    not answer, or not in time); the message names the unit and says what to do. None of them asks questions.
    """

    home: str  # for people: "Windows services", "systemd", "Docker Compose"
    can_stop_alone: bool  # False where the system itself refuses to stop a unit that others need (Windows)

    def states(self) -> list[State]:
        """What is there now, in the table's order: one or more for each role, `missing` for a role that has none."""
        ...

    def start(self, role: str, *, alone: bool = False) -> None:
        """Starts it and returns when its processes run (readiness is asked afterwards). Nothing to do when it runs.

        `alone`: without what the home itself would start before it, where the home can be told so.
        """
        ...

    def stop(self, role: str, *, seconds: float, force: bool = False) -> None:
        """Asks it to stop and returns when it has stopped; nothing to do when it does not run.

        Units that need it have stopped already unless `can_stop_alone`. It has `seconds` (its stop timeout) for what it
        has in hand. After them a home that kills (systemd, Docker) has killed it; one that does not (Windows) ends the
        process when `force`, and raises Unavailable otherwise. What was in hand is done again by others.
        """
        ...

    def restart(self, role: str, *, seconds: float, force: bool = False) -> None:
        """Stops and starts it; of several instances one after another, each ready before the next stops."""
        ...

    def readiness(self, role: str, *, wait: float = 0) -> str | None:
        """None when every instance is ready (within `wait` seconds), else what is missing, in a sentence."""
        ...

    def install(self, *, account: str | None = None) -> list[str]:
        """Makes or mends the units and what they need (accounts, rights); a sentence for each change, none when all was right.

        `account`: one account for all services instead of one for each; homes that cannot raise Refused.
        """
        ...

    def uninstall(self) -> list[str]:
        """Stops and removes the units, never data or settings; a sentence for each change."""
        ...
