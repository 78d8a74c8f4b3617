"""Threads for requests that wait for main, so that those that submit never wait behind them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import falcon

from messagebroker.http.problems import Problem
from messagebroker.http.proxy.deferring import DEFER, Deferred, Later, Reply
from messagebroker.http.proxy.replies import give, measured, of_error

Work = Callable[[], Reply]


class Patience:
    """A pool; threads are made when they are needed.

    Args:
        threads: how many requests may wait at a time. Twice as many more may queue up; the next ones are refused.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="patience")
        self._most = threads * 3
        self._count = 0

    def run(self, work: Work, request: falcon.Request, response: falcon.Response) -> None:
        """Answers with what `work` returns or raises, later if the server can do that."""
        defer = request.env.get(DEFER)
        if defer is None:
            give(work(), response)
            return
        if self._count >= self._most:
            raise Problem(503, "overloaded", "too many requests wait for main; try again shortly", headers={"Retry-After": "1"})
        self._count += 1
        self._pool.submit(self._answer, work, request, defer())
        raise Deferred

    def close(self) -> None:
        """Lets its threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, work: Work, request: falcon.Request, later: Later) -> None:
        try:
            reply = work()
        except Exception as error:  # noqa: BLE001 logged there
            reply = of_error(error, request)
        finally:
            self._count -= 1
        later.answer(measured(reply, request))
