"""Threads for requests that wait for main, so that those that submit never wait behind them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import falcon

from messagebroker.http.later import Later, Reply
from messagebroker.http.replies import measured, of_error

Work = Callable[[], Reply]


class Patience:
    """A pool; threads are made when they are needed.

    Args:
        threads: how many requests may wait at a time. Twice as many more may queue up.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="patience")
        self._room = threading.BoundedSemaphore(threads * 3)

    def run(self, work: Work, request: falcon.Request, later: Later) -> bool:
        """Answers with what `work` returns or raises; False, and nothing done, when too many wait already."""
        if not self._room.acquire(blocking=False):
            return False
        self._pool.submit(self._answer, work, request, later)
        return True

    def close(self) -> None:
        """Lets its threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, work: Work, request: falcon.Request, later: Later) -> None:
        try:
            reply = work()
        except Exception as error:  # noqa: BLE001 logged there
            reply = of_error(error, request)
        finally:
            self._room.release()
        later.answer(measured(reply, request))
