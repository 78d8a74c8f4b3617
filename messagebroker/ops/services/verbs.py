"""`start`, `stop`, `restart` and `status`, alike in every home: what is touched, in which order, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from messagebroker.errors import BrokerError, Refused, Unavailable
from messagebroker.ops.services.manager import Manager, State
from messagebroker.ops.services.order import dependents_of, needed_by, start_order, stop_order
from messagebroker.ops.services.plan import HEALTH_WAIT_SECONDS, PLAN_OF

Tell = Callable[[str], None]
"""Gets a sentence for a person, as things happen."""


class Verbs:
    """What operators do to services.

    Args:
        manager: of the home.
        tell: see `Tell`.
        wait: seconds that a role may take to become ready.
    """

    def __init__(self, manager: Manager, tell: Tell = lambda text: None, wait: float = HEALTH_WAIT_SECONDS) -> None:
        self._manager = manager
        self._tell = tell
        self._wait = wait

    def status(self, role: str | None = None) -> list[State]:
        """What is there, and whether it is ready."""
        states = [state for state in self._manager.states() if role in (None, state.role)]
        asked = sorted({state.role for state in states if state.state == "running" and not state.detail})
        with ThreadPoolExecutor(max_workers=max(1, len(asked))) as pool:
            said = dict(zip(asked, pool.map(self._asked, asked), strict=True))
        return [
            dataclasses.replace(state, detail=said[state.role]) if state.role in said and not state.detail else state
            for state in states
        ]

    def start(self, role: str | None = None, *, with_dependencies: bool = False, force: bool = False) -> None:
        """Starts all roles or one, each when those it needs are ready.

        Raises:
            Refused: a role that it needs does not run, and neither `with_dependencies` nor `force` was said.
            Unavailable: one did not become ready in time; nothing after it was started, unless `force`.
        """
        if role is None:
            self._bring_up(start_order(), force=force)
            return
        idle = [name for name in needed_by(role) if not self._runs(name)]
        if idle and with_dependencies:
            self._bring_up(idle, force=force)
        elif idle and not force:
            raise Refused(
                f"{role} needs {_and(idle)}, which {_do(idle)} not run: add --with-dependencies to start {_them(idle)} too,"
                f" or --force to start {role} all the same"
            )
        self._bring_up([role], force=force, alone=bool(idle) and not with_dependencies)

    def stop(self, role: str | None = None, *, with_dependencies: bool = False, force: bool = False) -> None:
        """Stops all roles or one, each after those that need it; each may take its stop timeout.

        Raises:
            Refused: roles that need it run, and neither `with_dependencies` nor `force` was said.
        """
        if role is None:
            self._take_down(stop_order(), force=force)
            return
        running = [name for name in dependents_of(role) if self._runs(name)]
        if running and not with_dependencies and not force:
            raise Refused(
                f"{_and(running)} {_need(running)} {role} and still {_run(running)}: add --with-dependencies to stop"
                f" {_them(running)} first, or --force to stop {role} all the same"
            )
        others = running if with_dependencies or not self._manager.can_stop_alone else []
        self._take_down(stop_order({role, *others}), force=force)

    def restart(self, role: str | None = None, *, with_dependencies: bool = False, force: bool = False) -> None:
        """Restarts all roles or one. Where the home allows it, one after another, so that the others go on meanwhile.

        Raises:
            Refused: the home must stop other roles for it, and neither `with_dependencies` nor `force` was said.
            Unavailable: one did not become ready again; those after it were left as they are, unless `force`.
        """
        if role is None and self._manager.can_stop_alone:
            for name in start_order():
                self._restart_one(name, force=force)
            return
        if role is None:
            self._around(start_order(), force=force)
            return
        running = [name for name in dependents_of(role) if self._runs(name)]
        if running and not self._manager.can_stop_alone and not with_dependencies and not force:
            raise Refused(
                f"{self._manager.home} cannot restart {role} while {_and(running)} {_run(running)}: add --with-dependencies to"
                f" restart {_them(running)} too"
            )
        if running and (with_dependencies or not self._manager.can_stop_alone):
            self._around(start_order({role, *running}), force=force)
        else:
            self._restart_one(role, force=force)

    def _around(self, roles: list[str], *, force: bool) -> None:
        """Down in one order, up in the other."""
        self._take_down(roles[::-1], force=force)
        self._bring_up(roles, force=force)

    def _bring_up(self, roles: Iterable[str], *, force: bool, alone: bool = False) -> None:
        for name in roles:
            self._manager.start(name, alone=alone)
            self._await(name, "started", force=force)

    def _take_down(self, roles: Iterable[str], *, force: bool) -> None:
        for name in roles:
            self._manager.stop(name, seconds=PLAN_OF[name].stop_seconds, force=force)
            self._tell(f"{name} stopped")

    def _restart_one(self, name: str, *, force: bool) -> None:
        self._manager.restart(name, seconds=PLAN_OF[name].stop_seconds, force=force)
        self._await(name, "restarted", force=force)

    def _await(self, name: str, done: str, *, force: bool) -> None:
        missing = self._manager.readiness(name, wait=self._wait)
        if missing is None:
            self._tell(f"{name} {done}, ready")
        elif force:
            self._tell(f"{name} {done}, but not ready: {missing}")
        else:
            raise Unavailable(
                f"{name} was {done} but is not ready after {self._wait:.0f} s: {missing}; --force goes on all the same"
            )

    def _asked(self, role: str) -> str:
        try:
            missing = self._manager.readiness(role)
        except BrokerError as error:
            missing = str(error)
        return "ready" if missing is None else f"not ready: {missing}"

    def _runs(self, role: str) -> bool:
        return any(state.runs for state in self._manager.states() if state.role == role)


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _do(names: list[str]) -> str:
    return "do" if len(names) > 1 else "does"


def _need(names: list[str]) -> str:
    return "need" if len(names) > 1 else "needs"


def _run(names: list[str]) -> str:
    return "run" if len(names) > 1 else "runs"


def _them(names: list[str]) -> str:
    return "them" if len(names) > 1 else "it"
