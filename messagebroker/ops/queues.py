"""Queues as they lie in Redis: names of the keys, how deep each queue is and how old its oldest message."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import redis

from messagebroker.ops.redis_client import DEPTH, LEGACY_QUEUE, NAMESPACE

QUEUES = ("critical", "high", "normal", "low", "ops")
"""The first four are db.models.PRIORITIES; `ops` is main's."""

HEARTBEATS = f"{NAMESPACE}:__heartbeats__"
"""Sorted set: worker -> when it was last heard, in milliseconds of Redis' clock."""

_LEGACY_TEXT = "Messages wait in other keys; `messagebroker queue stats` counts them."


def list_key(queue: str) -> str:
    """The list of waiting calls' ids."""
    return f"{NAMESPACE}:{queue}"


def calls_key(queue: str) -> str:
    """The hash of calls, waiting and running."""
    return f"{NAMESPACE}:{queue}.msgs"


def running_key(queue: str, worker: str) -> str:
    """The set of ids that a worker took and did not acknowledge yet."""
    return f"{NAMESPACE}:__acks__.{worker}.{queue}"


def dead_letters_key(queue: str) -> str:
    """The sorted set of calls that no program here understands."""
    return f"{NAMESPACE}:{queue}.XQ"


def dead_calls_key(queue: str) -> str:
    """The hash of those calls."""
    return f"{NAMESPACE}:{queue}.XQ.msgs"


@dataclass(frozen=True, kw_only=True)
class QueueDepth:
    """One queue at one moment."""

    queue: str
    messages: int  # waiting or running
    calls: int  # actor calls that carry them
    running: int  # calls in the hands of a worker
    oldest_seconds: float  # age of the oldest one, 0 for an empty queue
    dead_letters: int  # calls set aside because no program here understands them; 0 is normal


def depths(client: redis.Redis) -> list[QueueDepth]:
    """Every queue, in order of priority."""
    found: Any = client.zrange(HEARTBEATS, 0, -1)
    workers = [worker.decode() for worker in found]
    pipe = client.pipeline(transaction=False)  # a full Redis refuses even reads inside a MULTI
    for queue in QUEUES:
        pipe.hget(DEPTH, queue)
        pipe.hlen(calls_key(queue))
        pipe.lindex(list_key(queue), 0)
        pipe.zcard(dead_letters_key(queue))
        for worker in workers:
            pipe.smembers(running_key(queue, worker))
    answers = pipe.execute()
    step = 4 + len(workers)
    return [_depth(queue, answers[at : at + step]) for queue, at in zip(QUEUES, range(0, len(answers), step), strict=True)]


def _depth(queue: str, answers: list[Any]) -> QueueDepth:
    messages, calls, first, dead, *running_sets = answers
    running: set[bytes] = set().union(*running_sets)
    ids = [*running, *([first] if first else [])]
    return QueueDepth(
        queue=queue,
        messages=int(messages or 0),
        calls=int(calls),
        running=len(running),
        oldest_seconds=_age(min(ids)) if ids else 0.0,
        dead_letters=int(dead),
    )


def _age(call_id: bytes) -> float:
    """Ids begin with the time of the call in milliseconds, as thirteen hexadecimal digits."""
    return max(0.0, round(time.time() - int(call_id[:13], 16) / 1000, 3))


def guard_legacy_key(client: redis.Redis) -> None:
    """Makes an operator's old `LLEN message_queue` fail loudly instead of saying 0 while messages wait."""
    client.set(LEGACY_QUEUE, _LEGACY_TEXT, nx=True)
