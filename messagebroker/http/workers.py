"""The threads that run the application: waitress' dispatcher with a cheaper queue.

waitress takes a lock and wakes through a condition for every request; `SimpleQueue` does both in C.
"""

from __future__ import annotations

import logging
import threading
import time
from queue import SimpleQueue
from typing import Protocol

log = logging.getLogger(__name__)


class Task(Protocol):
    """What waitress calls a task: a channel with requests to serve."""

    def service(self) -> None:
        """Serves one request."""


class Workers:
    """A fixed number of threads that serve tasks in the order in which they come."""

    def __init__(self, count: int, name: str) -> None:
        self._queue: SimpleQueue[Task | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"{name}-{n}", daemon=True) for n in range(count)]
        self.add = self._queue.put

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def waiting(self) -> int:
        """Tasks that no thread has taken yet."""
        return self._queue.qsize()

    def stop(self, seconds: float) -> bool:
        """Lets the threads end after what is queued; False when one still runs after `seconds`."""
        for _ in self._threads:
            self._queue.put(None)
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            try:
                task.service()
            except BaseException:
                log.exception("a request failed outside the application")
