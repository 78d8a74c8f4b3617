"""A home in memory: it remembers what it was told, and can be slow, unwilling or broken."""

from __future__ import annotations

from messagebroker.ops.services.manager import State
from messagebroker.roles import NAMES


class FakeManager:
    home = "a home of the test"

    def __init__(self, *running: str, can_stop_alone: bool = True) -> None:
        self.running = set(running)
        self.can_stop_alone = can_stop_alone
        self.unready: dict[str, str] = {}
        self.calls: list[str] = []
        self.given: dict[str, dict[str, object]] = {}

    def states(self) -> list[State]:
        return [
            State(
                role=name, unit=f"unit-{name}", state="running" if name in self.running else "stopped", start_type="automatic"
            )
            for name in NAMES
        ]

    def start(self, role: str, *, alone: bool = False) -> None:
        self._note("start", role, alone=alone)
        self.running.add(role)

    def stop(self, role: str, *, seconds: float, force: bool = False) -> None:
        self._note("stop", role, seconds=seconds, force=force)
        self.running.discard(role)

    def restart(self, role: str, *, seconds: float, force: bool = False) -> None:
        self._note("restart", role, seconds=seconds, force=force)

    def readiness(self, role: str, *, wait: float = 0) -> str | None:
        return self.unready.get(role)

    def install(self, *, account: str | None = None) -> list[str]:
        return [f"installed for {account}"]

    def uninstall(self) -> list[str]:
        return ["removed"]

    def _note(self, verb: str, role: str, **given: object) -> None:
        self.calls.append(f"{verb} {role}")
        self.given[role] = given
