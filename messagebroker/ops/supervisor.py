"""Child processes that are started in order, watched, restarted, and stopped in the reverse order.

A child's stdin is a pipe from here: closing it asks the child to stop, on every system, and a supervisor that is
killed closes them all. On Windows a job object also ends what would not listen.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from messagebroker.errors import Unavailable
from messagebroker.ops.windows_job import Job

FIRST_DELAY = 1.0
LONGEST_DELAY = 30.0
STEADY_SECONDS = 60.0  # a child that ran this long starts again without the delays of earlier falls
WATCH_SECONDS = 0.2

log = structlog.get_logger("messagebroker.supervisor")


@dataclass(kw_only=True)
class Child:
    """One process to keep running."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    output: Path  # what it writes to stdout and stderr
    stop_seconds: float
    needs: tuple[str, ...] = ()  # names of children that must be ready before
    is_ready: Callable[[int], str | None] = lambda pid: None  # given its pid: None, or why not yet
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    ready: bool = field(default=False, init=False)
    started_at: float = field(default=0.0, init=False)
    falls: int = field(default=0, init=False)

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.poll() is None

    def last_words(self, characters: int = 2000) -> str:
        """The end of its output."""
        return self.output.read_text(encoding="utf-8", errors="replace")[-characters:].strip() if self.output.exists() else ""


class Supervisor:
    """Keeps `children` running until `stop` is set; `tell` gets a sentence for a person when one of them falls."""

    def __init__(self, children: list[Child], stop: threading.Event, tell: Callable[[str], None] = lambda text: None) -> None:
        self.children = children
        self.stop = stop
        self.tell = tell
        self._job = Job()

    def start(self, seconds: float = 60.0) -> None:
        """Starts all, each when those it needs are ready; returns when all are, or when `stop` is set.

        Raises:
            Unavailable: a child ended, or was not ready in time.
        """
        deadline = time.monotonic() + seconds
        while not all(child.ready for child in self.children) and not self.stop.is_set():
            for child in self.children:
                self._bring_up(child, deadline)
            self.stop.wait(0.05)

    def _bring_up(self, child: Child, deadline: float) -> None:
        if child.ready:
            return
        if child.process is None:
            if all(other.ready for other in self.children if other.name in child.needs):
                self._spawn(child)
            return
        if child.process.poll() is not None:
            raise Unavailable(
                f"{child.name} ended while starting (exit code {child.process.returncode}):\n{child.last_words()}"
            )
        reason = child.is_ready(child.process.pid)
        child.ready = reason is None
        if reason is not None and time.monotonic() > deadline:
            raise Unavailable(f"{child.name} is not ready: {reason}\n{child.last_words()}")

    def _spawn(self, child: Child) -> None:
        child.output.parent.mkdir(parents=True, exist_ok=True)
        with child.output.open("wb") as output:
            child.process = subprocess.Popen(
                child.command,
                env=dict(child.environment),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                # a group of its own: Ctrl-C in the terminal is for us, who stop the children in order
                start_new_session=os.name == "posix",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        self._job.add(child.process)
        child.started_at = time.monotonic()
        log.info("started", child=child.name, pid=child.process.pid)

    def watch(self) -> None:
        """Restarts what ends, later each time it ends soon, until `stop` is set."""
        due: dict[str, float] = {}
        while not self.stop.wait(WATCH_SECONDS):
            for child in self.children:
                if child.runs:
                    continue
                if child.name not in due:
                    due[child.name] = time.monotonic() + self._fall(child)
                elif time.monotonic() >= due[child.name]:
                    del due[child.name]
                    self._spawn(child)

    def _fall(self, child: Child) -> float:
        assert child.process is not None
        self._release(child)
        steady = time.monotonic() - child.started_at > STEADY_SECONDS
        child.falls = 1 if steady else child.falls + 1
        delay = min(FIRST_DELAY * 2.0 ** min(child.falls - 1, 10), LONGEST_DELAY)
        self.tell(
            f"{child.name} ended (exit code {child.process.returncode}); it starts again in {delay:.0f} s, see {child.output}"
        )
        log.error("ended", child=child.name, exit_code=child.process.returncode, restart_in=delay, said=child.last_words(500))
        return delay

    def close(self) -> list[str]:
        """Stops all, the last first; the names of those that had to be killed."""
        killed = [child.name for child in reversed(self.children) if not self._end(child, child.stop_seconds)]
        self._job.close()
        return killed

    def close_together(self, seconds: float) -> list[str]:
        """Stops all at the same time, whatever stop times are theirs; the names of those that had to be killed."""
        deadline = time.monotonic() + seconds
        for child in self.children:
            self._release(child)
        killed = [child.name for child in self.children if not self._end(child, max(0.0, deadline - time.monotonic()))]
        self._job.close()
        return killed

    def _end(self, child: Child, seconds: float) -> bool:
        if child.process is None:
            return True
        self._release(child)
        try:
            child.process.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            log.error("did not stop in time and is killed", child=child.name)
            child.process.kill()
            child.process.wait()
            return False

    def _release(self, child: Child) -> None:
        if child.process is not None and child.process.stdin is not None and not child.process.stdin.closed:
            child.process.stdin.close()
