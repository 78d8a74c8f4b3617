"""A service manager of Windows that only keeps what it is told."""

from __future__ import annotations

import os
from dataclasses import replace

from messagebroker.errors import Refused
from messagebroker.ops.services.manager import Word
from messagebroker.ops.services.order import dependents_of
from messagebroker.ops.services.plan import PLAN_OF, PLANS
from messagebroker.ops.services.windows_control import NEVER_STARTED, Found
from messagebroker.ops.services.windows_units import WindowsUnit


class FakeControl:
    """`slow`: services that do not stop until somebody kills them; `broken`: that end as they start."""

    def __init__(self) -> None:
        self.services: dict[str, Found] = {}
        self.calls: list[tuple[str, str]] = []
        self.passwords: set[str | None] = set()
        self.slow: set[str] = set()
        self.broken: set[str] = set()

    def images(self) -> dict[str, str]:
        return {"MySQL84": r'"C:\MySQL\bin\mysqld.exe" MySQL84', "Memurai": r"C:\Memurai\memurai.exe"}

    def find(self, name: str) -> Found | None:
        return self.services.get(name)

    def create(self, unit: WindowsUnit) -> None:
        self.calls.append(("create", unit.name))
        self.services[unit.name] = Found(
            name=unit.name, display_name="", image="", account=r"NT AUTHORITY\LocalService", needs=(), start_type="manual",
            state="stopped", pid=0, exit_code=NEVER_STARTED,
        )  # fmt: skip

    def configure(self, unit: WindowsUnit, password: str | None) -> list[str]:
        self.passwords.add(password)
        self.set(
            unit.name, display_name=unit.display_name, image=unit.image, account=unit.account, needs=unit.needs,
            start_type="delayed",
        )  # fmt: skip
        return []

    def remove(self, name: str) -> None:
        assert self.services[name].state == "stopped"
        del self.services[name]
        self.calls.append(("remove", name))

    def start(self, name: str) -> None:
        self.calls.append(("start", name))
        self.runs(name) if name not in self.broken else self.set(name, exit_code=1066)

    def stop(self, name: str) -> None:
        self.calls.append(("stop", name))
        running = [PLAN_OF[role].name for role in dependents_of(role_of(name))]
        if any(name in self.services and self.services[name].state == "running" for name in running):
            raise Refused("1051")
        self.set(name, state="stopping") if name in self.slow else self.set(name, state="stopped", pid=0, exit_code=0)

    def set(self, name: str, **changes: object) -> None:
        self.services[name] = replace(self.services[name], **changes)  # type: ignore[arg-type]

    def runs(self, name: str, state: Word = "running") -> None:
        self.set(name, state=state, pid=os.getpid(), exit_code=0)


def role_of(name: str) -> str:
    return next(plan.role for plan in PLANS if plan.name == name)
