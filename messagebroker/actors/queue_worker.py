"""Dramatiq's worker for chosen queues; several share one broker in a process."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import dramatiq
from dramatiq.worker import _WorkerThread as WorkerThread

from messagebroker.actors.broker import Broker
from messagebroker.actors.consumer import Consumer

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
        self._retired: list[WorkerThread] = []  # they finish their last call
        self._state = "new"  # then "runs", then "stops"
        self._lock = threading.Lock()

    def start(self) -> None:
        """Starts the threads."""
        with self._lock:
            self._state = "runs"
            self.broker.emit_before("worker_boot", self)
            for queue in self.names:
                self._add_consumer(queue)
            for _ in range(self.worker_threads):
                self._add_worker()
            self.broker.emit_after("worker_boot", self)

    def resize(self, threads: int) -> bool:
        """Grows or shrinks to so many threads; whether that changed anything. Who has to go finishes the call in hand."""
        with self._lock:
            if threads == self.worker_threads or self._state == "stops":
                return False
            self.worker_threads, self.queue_prefetch = threads, threads + 1
            self._set_prefetch()
            if self._state == "runs":
                self._retired = [thread for thread in self._retired if thread.is_alive()]
                while len(self.workers) < threads:
                    self._add_worker()
                while len(self.workers) > threads:
                    leaving = self.workers.pop()
                    leaving.stop()
                    self._retired.append(leaving)
            return True

    def _set_prefetch(self) -> None:
        for thread in self.consumers.values():
            thread.prefetch = self.queue_prefetch  # for the next consumer, after an error
        for consumer in self._live():
            consumer.prefetch = self.queue_prefetch

    def stop(self, timeout: int = 600_000) -> None:
        """Dramatiq's own, which waits for retired threads too."""
        with self._lock:
            self._state = "stops"
            self.workers += self._retired
        super().stop(timeout)

    @property
    def in_hand(self) -> int:
        """Work items that were taken and are not done."""
        return sum(consumer.in_hand for consumer in self._live())

    @property
    def finished(self) -> int:
        """Messages that this process is done with since it began."""
        return sum(consumer.finished for consumer in self._live())

    def _live(self) -> list[Consumer]:
        return [consumer for thread in self.consumers.values() if isinstance(consumer := thread.consumer, Consumer)]

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
