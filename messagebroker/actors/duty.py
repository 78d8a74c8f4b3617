"""What a worker process tells of itself with every heartbeat, and how it takes over what operators set for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import redis
import structlog

from messagebroker import __version__
from messagebroker.actors.deliveries.engine import Engine
from messagebroker.actors.queue_worker import QueueWorker
from messagebroker.ops import queue_rates, steering
from messagebroker.ops.concurrency import DELIVERIES, THREADS
from messagebroker.settings import Settings

_OTHERS = 8
"""Connections that the pool must have left for threads that are not the queues': poller, heartbeat, readiness, engine."""

_log = structlog.get_logger("messagebroker.worker")


class Duty:
    """Of one process.

    Args:
        workers: the one of `critical`, then the one whose threads can be more or fewer.
        engine: delivers.
        client: for rates.
    """

    def __init__(
        self,
        settings: Settings,
        workers: Sequence[QueueWorker],
        engine: Engine,
        client: redis.Redis,
    ) -> None:
        self._settings = settings
        self._workers = workers
        self._client = client
        self._engine = engine
        self._last = (time.monotonic(), 0, 0)

    def resize(self) -> None:
        """As many threads as operators set, or the settings say; no more than the pool has connections for."""
        ordinary = self._workers[-1]
        wanted = steering.number(THREADS, self._settings.worker_threads)
        most = max(self._settings.worker_threads, self._settings.database_pool_size - _OTHERS)
        before = ordinary.worker_threads
        if ordinary.resize(min(wanted, most)):
            _log.info("threads", before=before, now=ordinary.worker_threads, wanted=wanted)
            if wanted > most:
                _log.warning("more threads need more connections: raise DATABASE_POOL_SIZE", threads=most, wanted=wanted)

        self._engine.windows.resize(steering.number(DELIVERIES, self._settings.deliveries_at_once))

    def rest(self) -> None:
        """Deliveries that were claimed and not begun when their queue was paused go back to the table."""
        given = self._engine.rest(steering.paused())
        if given:
            _log.info("deliveries of queues that rest given back", number=given)

    def flush(self) -> None:
        """Tells Redis what was delivered; without Redis nobody is told."""
        try:
            queue_rates.flush(self._client)
        except redis.RedisError as error:
            _log.debug("rates are not counted", error=str(error))

    def details(self) -> dict[str, Any]:
        """For the heartbeat: all of it plain JSON."""
        then, stored_then, delivered_then = self._last
        stored = sum(worker.finished for worker in self._workers)
        now, delivered = time.monotonic(), queue_rates.delivered_here()
        self._last = (now, stored, delivered)
        seconds = max(now - then, 0.001)
        return {
            "version": __version__,
            "threads": sum(worker.worker_threads for worker in self._workers),
            "calls": sum(worker.in_hand for worker in self._workers),
            "stored_per_second": round((stored - stored_then) / seconds, 2),
            "delivered_per_second": round((delivered - delivered_then) / seconds, 2),
            "deliveries": self._engine.windows.running,
            "deliveries_at_once": self._engine.windows.at_once,
        }
