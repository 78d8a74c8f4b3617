"""Dramatiq's worker for chosen queues; several share one broker in a process."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import dramatiq

from messagebroker.actors.broker import Broker

_WAKES_EVERY_MS = 500  # of idle worker threads: how long a stop waits for them at most


class QueueWorker(dramatiq.Worker):
    """Threads for some queues.

    Dramatiq's own start registers a middleware on the broker, which two workers of one process cannot both do; all it
    adds are consumers for queues that are declared later, and ours are all known.
    """

    def __init__(self, broker: Broker, queues: Iterable[str], threads: int) -> None:
        super().__init__(broker, queues=set(queues), worker_threads=threads, worker_timeout=_WAKES_EVERY_MS)
        self.names = sorted(queues)
        self.queue_prefetch = threads + 1  # one is at hand when a thread ends; more would not merge with what comes

    def start(self) -> None:
        """Starts the threads."""
        self.broker.emit_before("worker_boot", self)
        for queue in self.names:
            self._add_consumer(queue)
        for _ in range(self.worker_threads):
            self._add_worker()
        self.broker.emit_after("worker_boot", self)

    def dead_threads(self) -> list[str]:
        """Names of threads that ended though nobody stopped them."""
        return [thread.name for thread in (*self.consumers.values(), *self.workers) if not thread.is_alive()]


def stop_together(workers: Iterable[QueueWorker], seconds: float) -> None:
    """Stops several workers at the same time; what does not finish runs again elsewhere."""
    threads = [threading.Thread(target=worker.stop, args=(int(seconds * 1000),)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
