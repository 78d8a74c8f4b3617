"""Waiting until queues are empty: nothing of them waits and nothing is under way. What is for later stays."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import redis

from messagebroker.errors import Conflict, Refused
from messagebroker.ops import queue_stats
from messagebroker.ops.delivery_counts import Counter
from messagebroker.ops.pausing import known
from messagebroker.ops.queue_stats import QueueState

LOOK_SECONDS = 1.0


class NotDrained(Conflict):
    """The time is over, and something is left."""


def drain(
    client: redis.Redis,
    queues: Collection[str],
    *,
    seconds: float,
    only_stored: bool = False,
    report: Callable[[int, int], None] = lambda waiting, running: None,
) -> None:
    """Returns when the queues are empty. Stop who sends first: what comes in meanwhile is waited for too.

    Args:
        client: Redis.
        queues: their names.
        seconds: after which it gives up.
        only_stored: until all accepted messages are stored: deliveries survive every restart.
        report: told how many wait and how many run, after every look.

    Raises:
        NotFound: no such queue.
        Refused: one that is paused has messages, so that this would never end.
        NotDrained: the time is over.
        Unavailable, redis.RedisError: the database or Redis does not answer.
    """
    for queue in queues:
        known(queue)
    counter = Counter()
    deadline = time.monotonic() + seconds
    while True:
        states = [state for state in queue_stats.look(client, counter.look).queues if state.queue in queues]
        left = [(state, *_left(state, only_stored=only_stored)) for state in states]
        waiting, running = sum(item[1] for item in left), sum(item[2] for item in left)
        report(waiting, running)
        if not waiting + running:
            return
        for state, waits, _ in left:
            if state.paused is not None and waits:
                raise Refused(
                    f"{waits:,} wait in {state.queue}, which {state.paused.paused_by} paused"
                    f"{': ' + state.paused.reason if state.paused.reason else ''}; `messagebroker queue resume {state.queue}`"
                )
        if time.monotonic() > deadline:
            where = ", ".join(f"{state.queue}: {waits + runs:,}" for state, waits, runs in left if waits + runs)
            raise NotDrained(f"{waiting:,} still wait and {running:,} run ({where}); `messagebroker queue stats` says more")
        time.sleep(LOOK_SECONDS)


def _left(state: QueueState, *, only_stored: bool) -> tuple[int, int]:
    return (state.messages, 0) if only_stored else (state.waiting, state.running)
