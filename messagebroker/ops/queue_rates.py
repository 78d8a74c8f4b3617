"""How fast queues move: messages counted in Redis, in buckets of ten seconds that it forgets by itself.

What comes in and what is stored is counted by the very scripts that enqueue and acknowledge. What workers deliver is
counted in memory and written once a second by each process, so that no delivery waits for it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from messagebroker.ops.redis_client import NAMESPACE

BUCKET_SECONDS = 10
WINDOW_SECONDS = 60
_KEPT_SECONDS = 120  # as in the scripts

_counted: Counter[str] = Counter()
_total = 0
_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Of one queue, a second, over the last minute."""

    into: float = 0.0  # accepted
    stored: float = 0.0  # taken out of Redis: stored, or set aside
    delivered: float = 0.0  # attempts to deliver that succeeded


def count_delivered(queue: str, number: int = 1) -> None:
    """Deliveries that succeeded in this process. In memory: for hot paths."""
    global _total  # noqa: PLW0603 - one for the process, as the counter beside it
    with _lock:
        _counted[f"delivered:{queue}"] += number
        _total += number


def delivered_here() -> int:
    """How many deliveries succeeded in this process since it began."""
    return _total


def flush(client: redis.Redis) -> None:
    """Writes what this process counted since the last time: one round trip, none when there is nothing.

    Raises:
        redis.RedisError: Redis does not answer; what was counted is dropped: late it would be wrong.
    """
    with _lock:
        counted = dict(_counted)
        _counted.clear()
    if counted:
        key = _key(_second(client) // BUCKET_SECONDS)
        pipe = client.pipeline(transaction=False)
        for field, number in counted.items():
            pipe.hincrby(key, field, number)
        pipe.expire(key, _KEPT_SECONDS)
        pipe.execute()


def rates(client: redis.Redis) -> Mapping[str, Rates]:
    """By queue; a queue in which nothing moved is left out.

    Raises:
        redis.RedisError: Redis does not answer.
    """
    second = _second(client)
    newest = second // BUCKET_SECONDS
    pipe = client.pipeline(transaction=False)
    for bucket in range(newest - WINDOW_SECONDS // BUCKET_SECONDS, newest + 1):
        pipe.hgetall(_key(bucket))
    sums: Counter[str] = Counter()
    for found in pipe.execute():
        sums.update({field.decode(): int(number) for field, number in found.items()})
    seconds = WINDOW_SECONDS + second % BUCKET_SECONDS + 1  # the newest bucket is not full yet
    queues = {field.partition(":")[2] for field in sums}
    return {
        queue: Rates(
            into=round(sums[f"in:{queue}"] / seconds, 2),
            stored=round(sums[f"out:{queue}"] / seconds, 2),
            delivered=round(sums[f"delivered:{queue}"] / seconds, 2),
        )
        for queue in queues
    }


def _second(client: redis.Redis) -> int:
    """By Redis' clock, as the scripts count."""
    answer: Any = client.time()
    return int(answer[0])


def _key(bucket: int) -> str:
    return f"{NAMESPACE}:rate:{bucket}"
