"""Requests that main answers: charged to the client that asks, then answered by threads that no submit waits for.

Main does not limit proxies, which ask for many; so each client is limited here, by Redis, whichever proxies it asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import falcon

from messagebroker.http.later import DEFER, Deferred, Reply
from messagebroker.http.problems import Problem, rate_limited
from messagebroker.http.proxy.patience import Patience
from messagebroker.ops.limits import Limiter, Shared


class Reads:
    """What they share.

    Args:
        patience: where they wait for main.
        shared: where all proxies count.
        rate: requests a second for each client.
    """

    def __init__(self, patience: Patience, shared: Shared, rate: int) -> None:
        self._patience = patience
        self._limiter = Limiter(shared, kind="requests", rate=rate)

    def answer(self, request: falcon.Request, work: Callable[[], Reply], *, cost: int = 1) -> NoReturn:
        """Answers with what `work` returns or raises, later.

        Raises:
            Deferred: always, but for
            Problem: the client asks too fast, or too many requests wait for main already.
        """
        verdict = self._limiter.charge(request.context.peer.name, cost)
        if verdict.refused:
            raise rate_limited(verdict, "client")
        if self._patience.run(lambda: _telling(work, verdict.headers), request, request.env[DEFER]()):
            raise Deferred
        detail = "too many requests wait for main; try again shortly"
        raise Problem(503, "overloaded", detail, headers={**verdict.headers, "Retry-After": "1"})


def _telling(work: Callable[[], Reply], limits: dict[str, str]) -> Reply:
    """What `work` answers, with what is left of the client's rate."""
    try:
        status, headers, body = work()
    except Problem as problem:
        problem.headers = {**dict(problem.headers or {}), **limits}
        raise
    return status, [*headers, *limits.items()], body
