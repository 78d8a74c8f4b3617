"""`/health`: the process answers. `/health/ready`: it can do its work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal

import falcon
import msgspec

from messagebroker import __version__
from messagebroker.http.decoding import answer
from messagebroker.http.openapi import PUBLIC, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops.checks import Checks

PATHS = frozenset({"/health", "/health/ready", "/api/v1/health", "/api/v1/health/ready"})
"""Answered without a certificate on every server."""

Check = tuple[str, Callable[[], str | None]]
"""A name and a function that returns what is wrong, None when nothing is. Strangers read it: no addresses in it."""

_KEEP_SECONDS = 1.0


class HealthAnswer(msgspec.Struct, kw_only=True):
    """The process is alive."""

    status: Literal["ok"] = "ok"
    role: str
    version: str
    warnings: list[str] = []


class ReadyAnswer(msgspec.Struct, kw_only=True):
    """Every part that this role needs answers."""

    status: Literal["ready"] = "ready"
    checks: dict[str, Annotated[str, msgspec.Meta(description="`ok`, or what is wrong")]]


_ALIVE = {200: HealthAnswer}
_READY = {200: ReadyAnswer, 503: None}


class Health:
    """Liveness: depends on nothing else."""

    operations: ClassVar = (
        Operation("GET", "/health", "Whether the process is alive", responses=_ALIVE, security=PUBLIC, tag="health"),
        Operation("GET", "/api/v1/health", "The same", responses=_ALIVE, security=PUBLIC, tag="health"),
    )

    def __init__(self, role: str, warnings: Callable[[], list[str]] | None = None) -> None:
        self._role = role
        self._warnings = warnings

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Always 200; `warnings` tell what should be mended soon."""
        warnings = self._warnings() if self._warnings else []
        answer(response, HealthAnswer(role=self._role, version=__version__, warnings=warnings))

    on_head = on_get  # some load balancers ask so


class Ready:
    """Readiness. One round of checks serves everybody who asks within a second: the path is open to strangers."""

    operations: ClassVar = (
        Operation("GET", "/health/ready", "Whether the role can work", responses=_READY, security=PUBLIC, tag="health"),
        Operation("GET", "/api/v1/health/ready", "The same", responses=_READY, security=PUBLIC, tag="health"),
    )

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = Checks(dict(checks))
        self._lock = threading.Lock()
        self._kept: dict[str, str] = {}
        self._kept_until = float("-inf")

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """200, or 503 naming what failed."""
        outcome = self._outcome()
        failed = [name for name, result in outcome.items() if result != "ok"]
        if failed:
            detail = f"not ready: {', '.join(failed)}"
            raise Problem(503, "not-ready", detail, headers={"Retry-After": "1"}, checks=outcome)
        answer(response, ReadyAnswer(checks=outcome))

    on_head = on_get

    def _outcome(self) -> dict[str, str]:
        with self._lock:
            if time.monotonic() >= self._kept_until:
                self._kept = self._checks.outcome()
                self._kept_until = time.monotonic() + _KEEP_SECONDS
            return self._kept
