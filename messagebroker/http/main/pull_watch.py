"""Looks after the pulls that wait: one thread that asks what has come, a few that take it and answer."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import structlog

from messagebroker.errors import BrokerError, Unavailable
from messagebroker.http.main.waiting import Waiter, Waiting
from messagebroker.ops import pull_leases, pulls

LOOK_SECONDS = 0.2
RELEASE_SECONDS = 1.0
_log = structlog.get_logger("messagebroker.pulls")


class PullWatch:
    """From `start` to `stop`, or until `told` is set: then everybody is answered at once, for the server waits for that.

    Args:
        waiting: the room.
        threads: of the server; a quarter of as many take messages at the same time.
        told: the server's own stop.
    """

    def __init__(self, waiting: Waiting, threads: int, told: threading.Event) -> None:
        self._waiting = waiting
        self._told = told
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._busy: set[int] = set()  # subscriptions that somebody takes from
        self._pool = ThreadPoolExecutor(max(1, threads // 4), thread_name_prefix="pulls")
        self._released_at = float("-inf")
        self._is_out = False
        self._thread = threading.Thread(target=self._run, name="pull-watch", daemon=True)

    def start(self) -> None:
        """Lets pulls wait from now on."""
        self._waiting.open()
        self._thread.start()

    def stop(self) -> None:
        """Ends the threads."""
        self._stopped.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not (self._told.wait(LOOK_SECONDS) or self._stopped.is_set()):
            try:
                self._look()
                self._is_out = False
            except BrokerError as error:
                if not self._is_out:
                    _log.warning("pulls wait until the database answers", error=str(error))
                self._is_out = True
            except Exception as error:  # noqa: BLE001 (the next look may succeed)
                _log.error("those who wait in a pull cannot be looked after", exc_info=error)
        for waiter in self._waiting.close():
            waiter.answer(waiter.empty)
        self._pool.shutdown(wait=False)

    def _look(self) -> None:
        now = time.monotonic()
        for waiter in self._waiting.leaving(now):
            waiter.answer(waiter.empty)
        if now - self._released_at >= RELEASE_SECONDS:
            self._released_at = now
            pull_leases.release_expired()
        for number in pulls.with_due(self._waiting.subscriptions()):
            with self._lock:
                if number in self._busy:
                    continue
                self._busy.add(number)
            self._pool.submit(self._serve, number)

    def _serve(self, number: int) -> None:
        """Gives to those who wait for this subscription, one after another, until nothing is left for the next."""
        try:
            for _ in range(self._waiting.number(number)):
                waiter = self._waiting.next(number)
                if waiter is None or not self._try(waiter):
                    return
        finally:
            with self._lock:
                self._busy.discard(number)

    def _try(self, waiter: Waiter) -> bool:
        """Whether it was answered. Nobody takes messages for a peer that has left."""
        try:
            reply = waiter.work() if waiter.later.is_there else waiter.empty
        except Unavailable:
            reply = None
        except Exception as error:  # noqa: BLE001 (logged there; the next one may have more luck)
            waiter.fail(error)
            return True
        if reply is not None:
            waiter.answer(reply)
        elif not self._waiting.put_back(waiter):
            waiter.answer(waiter.empty)
        return reply is not None
