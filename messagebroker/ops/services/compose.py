"""The roles as containers of a Compose project."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from messagebroker.errors import NotFound, Refused, Unavailable
from messagebroker.ops import old_files, old_names
from messagebroker.ops.services.manager import StartType, State, Word
from messagebroker.ops.services.order import needed_by
from messagebroker.ops.services.plan import PLAN_OF, PLANS
from messagebroker.ops.services.programs import Programs, Run

UP_SECONDS = 300.0  # `up` may have to start servers first, and to create networks and volumes
MARGIN_SECONDS = 30.0
POLL_SECONDS = 0.5
HEALTH_SECONDS = 15.0
READY_SECONDS = 90.0  # of one of several instances, before the next one is restarted
_STATES: dict[str, Word] = {
    "running": "running",
    "paused": "running",
    "created": "stopped",
    "restarting": "failed",
    "removing": "stopping",
    "exited": "stopped",
    "dead": "failed",
}
_AUTOMATIC = ("always", "unless-stopped")
_STOPPED_BY_SIGNAL = (0, 137, 143)  # what a container ends with that was told to stop
_NEVER = "0001-01-01"


class Compose:
    """Drives the containers of the Compose project in `folder`.

    Args:
        folder: what `docker compose` is run in: it finds compose.yaml, .env and COMPOSE_FILE there by its own rules.
        run: runs docker; for tests.
    """

    home = "Docker Compose"
    can_stop_alone = True

    def __init__(self, folder: Path, run: Run | None = None) -> None:
        self._folder = folder
        self._run: Run = run or Programs(folder=folder)

    def states(self) -> list[State]:
        """See `Manager`."""
        found = self._containers()
        states = []
        for plan in PLANS:
            of_role = [one for one in found if _service(one) == plan.role]
            states += [_state(plan.role, one) for one in of_role]
            if not of_role:
                states.append(State(role=plan.role, unit=plan.role, state="missing", detail="has no container"))
        return states

    def start(self, role: str, *, alone: bool = False) -> None:
        """See `Manager`. What its containers depend on (servers, one-shot services) is started by Compose."""
        found = self._containers()
        own = [one for one in found if _service(one) == role]
        if own and all(_state(role, one).state == "running" for one in own):
            return
        if own and alone:
            self._docker(["start", *map(_id, own)])
            return
        # without --scale `up` removes all but one of the instances of a scaled role; it knows only those that it starts
        counts = {name: sum(_service(one) == name for one in found) for name in (*needed_by(role), role)}
        scale = [word for name, count in counts.items() if count > 1 for word in ("--scale", f"{name}={count}")]
        deps = ["--no-deps"] if alone else []
        self._compose(["up", "--detach", "--no-recreate", "--no-build", *deps, *scale, role], UP_SECONDS)

    def stop(self, role: str, *, seconds: float, force: bool = False) -> None:
        """See `Manager`. Docker kills what does not stop in time."""
        running = [one for one in self._own(role) if one["State"]["Status"] in ("running", "paused", "restarting")]
        if running:
            self._docker(["stop", f"--time={seconds:.0f}", *map(_id, running)], seconds * len(running) + MARGIN_SECONDS)

    def restart(self, role: str, *, seconds: float, force: bool = False) -> None:
        """See `Manager`."""
        containers = self._own(role)
        for container in containers:
            self._docker(["restart", f"--time={seconds:.0f}", _id(container)], seconds + MARGIN_SECONDS)
            if container is containers[-1]:
                return
            if (missing := self._readiness([_id(container)], READY_SECONDS)) is not None and not force:
                raise Unavailable(
                    f"{_name(container)} is not ready after its restart ({missing}); the other instances of {role} were left"
                    " running as they are; --force goes on all the same"
                )

    def readiness(self, role: str, *, wait: float = 0) -> str | None:
        """See `Manager`. Docker asks in each container every few seconds; one that it does not call healthy is asked now."""
        return self._readiness([_id(one) for one in self._own(role)], wait)

    def install(self, *, account: str | None = None) -> list[str]:
        """See `Manager`. Containers need none; what operators typed until now is made beside the Compose file."""
        if account is not None:
            raise Refused("containers have no accounts of this machine; leave --account away")
        return old_files.write(self._folder, system=old_names.LINUX)

    def uninstall(self) -> list[str]:
        """See `Manager`."""
        raise Refused("`docker compose down` in docker/ removes the containers; the volumes with all data stay")

    def _readiness(self, ids: list[str], wait: float) -> str | None:
        deadline = time.monotonic() + wait
        while True:
            missing = [said for one in self._inspected(ids) if (said := self._unready(one)) is not None]
            if not missing:
                return None
            if time.monotonic() >= deadline:
                return "; ".join(missing)
            time.sleep(POLL_SECONDS)

    def _unready(self, container: Mapping[str, Any]) -> str | None:
        """None when it is ready, else what its health check says."""
        state = container["State"]
        if state["Status"] != "running":
            return f"{_name(container)} is {state['Status']}"
        if (state.get("Health") or {}).get("Status") == "healthy":
            return None
        words = ["docker", "exec", _id(container), "messagebroker", *PLAN_OF[_service(container)].health]
        answer = self._run(words, seconds=HEALTH_SECONDS, check=False)
        return None if answer.code == 0 else f"{_name(container)}: {answer.words}"

    def _own(self, role: str) -> list[dict[str, Any]]:
        own = [one for one in self._containers() if _service(one) == role]
        if not own:
            raise NotFound(f"{role} has no container in this project; `docker compose up --wait` makes it")
        return own

    def _containers(self) -> list[dict[str, Any]]:
        """Of the project's services, as `docker inspect` describes them; not those of `docker compose run`."""
        ids = self._compose(["ps", "--all", "--quiet", "--no-trunc"]).split()
        found = [one for one in self._inspected(ids) if _label(one, "oneoff") != "True"]
        return sorted(found, key=lambda one: int(_label(one, "container-number") or 0))

    def _inspected(self, ids: list[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._docker(["inspect", *ids])) if ids else []
        return found

    def _compose(self, words: list[str], seconds: float = MARGIN_SECONDS) -> str:
        return self._docker(["compose", *words], seconds)

    def _docker(self, words: list[str], seconds: float = MARGIN_SECONDS) -> str:
        answer = self._run(["docker", *words], seconds=seconds, check=False)
        if answer.code == 0:
            return answer.out
        if "daemon" in answer.err and ("connect" in answer.err or "permission denied" in answer.err):
            raise Unavailable(f"Docker does not answer this account: {answer.words}")
        raise Refused(f"`docker {' '.join(words)}` in {self._folder} failed: {answer.words}")


def _label(container: Mapping[str, Any], name: str) -> str:
    labels: dict[str, str] = container["Config"].get("Labels") or {}
    return labels.get(f"com.docker.compose.{name}", "")


def _service(container: Mapping[str, Any]) -> str:
    return _label(container, "service")


def _id(container: Mapping[str, Any]) -> str:
    return str(container["Id"])


def _name(container: Mapping[str, Any]) -> str:
    return str(container["Name"]).lstrip("/")


def _state(role: str, container: Mapping[str, Any]) -> State:
    state = container["State"]
    word, detail = _STATES.get(state["Status"], "failed"), ""
    if state["Status"] == "running":
        detail = "ready" if (state.get("Health") or {}).get("Status") == "healthy" else ""  # then `readiness` asks
    elif state["Status"] == "paused":
        detail = "paused; `docker compose unpause` lets it go on"
    elif state.get("OOMKilled"):
        word, detail = "failed", "was killed because it was out of memory"
    elif word == "failed" or state.get("ExitCode") not in _STOPPED_BY_SIGNAL:
        word, detail = "failed", f"ended with exit code {state.get('ExitCode')}; `docker logs {_name(container)}` says why"
    policy = container["HostConfig"]["RestartPolicy"]["Name"]
    start_type: StartType = "automatic" if policy in _AUTOMATIC else "manual"
    moment = state["StartedAt"] if word == "running" else state["FinishedAt"]
    return State(
        role=role,
        unit=_name(container),
        state=word,
        start_type=start_type,
        since=_moment(moment),
        restarts=int(container.get("RestartCount") or 0),
        detail=detail,
    )


def _moment(text: str) -> datetime | None:
    """Docker's times have nanoseconds, which Python 3.11 cuts off by itself; a time that never was is the year 1."""
    return None if text.startswith(_NEVER) else datetime.fromisoformat(text).replace(microsecond=0)
