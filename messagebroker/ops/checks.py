"""Named checks of what a process needs, for its readiness; one that gets no answer is an answer too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

Check = Callable[[], str | None]
"""None, or what is wrong."""

SECONDS = 2.0
"""A server that was cut off keeps a question waiting for a minute; whoever asks for readiness waits three seconds."""


class Checks:
    """Each check runs in a thread of its own; one that has not ended is not started again beside itself."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = dict(checks)
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}

    def outcome(self) -> dict[str, str]:
        """`ok` or what is wrong, by name, after SECONDS at the latest."""
        with self._lock:
            for name, check in self._checks.items():
                if name not in self._runs or self._runs[name].has_ended:
                    self._runs[name] = _Run(name, check)
            runs = dict(self._runs)
        deadline = time.monotonic() + SECONDS
        return {name: run.said(deadline) for name, run in runs.items()}


class _Run:
    def __init__(self, name: str, check: Check) -> None:
        self._check = check
        self._began = time.monotonic()
        self._said = "cannot be checked, see the log"  # stays when the check ends by an error, which the thread's hook logs
        self._thread = threading.Thread(target=self._run, name=f"check {name}", daemon=True)
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def said(self, deadline: float) -> str:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return self._said if self.has_ended else f"no answer for {time.monotonic() - self._began:.0f} s"

    def _run(self) -> None:
        self._said = self._check() or "ok"
