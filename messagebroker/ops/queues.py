"""Queues as they lie in Redis: names of the keys, how deep each queue is and how old its oldest message."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import redis

from messagebroker.ops.redis_client import DEPTH, LEGACY_QUEUE, NAMESPACE

QUEUES = ("critical", "high", "normal", "low", "ops")
"""The first four are db.models.PRIORITIES; `ops` is main's."""

HEARTBEAT_TIMEOUT = 15_000
"""Milliseconds of silence after which a worker is dead, and what it holds is given to others."""

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
    running_messages: int  # those of `messages` that a worker has in hand
    stuck_messages: int  # those of them whose worker is silent


def depths(client: redis.Redis) -> list[QueueDepth]:
    """Every queue, in order of priority."""
    asked = client.pipeline(transaction=False)
    asked.time()
    asked.zrange(HEARTBEATS, 0, -1, withscores=True)
    (seconds, _), beats = asked.execute()
    workers = [worker.decode() for worker, _ in beats]
    silent = [(seconds * 1000 - heard) > HEARTBEAT_TIMEOUT for _, heard in beats]
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
    return [
        _depth(queue, answers[at : at + step], silent) for queue, at in zip(QUEUES, range(0, len(answers), step), strict=True)
    ]


def _depth(queue: str, answers: list[Any], silent: list[bool]) -> QueueDepth:
    messages, calls, first, dead, *running_sets = answers
    running: set[bytes] = set().union(*running_sets)
    stuck: set[bytes] = set().union(*(held for held, is_silent in zip(running_sets, silent, strict=True) if is_silent))
    ids = [*running, *([first] if first else [])]
    return QueueDepth(
        queue=queue,
        messages=int(messages or 0),
        calls=int(calls),
        running=len(running),
        oldest_seconds=_age(min(ids)) if ids else 0.0,
        dead_letters=int(dead),
        running_messages=sum(messages_of(call_id) for call_id in running),
        stuck_messages=sum(messages_of(call_id) for call_id in stuck),
    )


def messages_of(call_id: bytes) -> int:
    """How many messages a call carries: its id says so, and the scripts read it alike."""
    parts = call_id.split(b".")
    return int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else 1


def _age(call_id: bytes) -> float:
    """Ids begin with the time of the call in milliseconds, as thirteen hexadecimal digits."""
    return max(0.0, round(time.time() - int(call_id[:13], 16) / 1000, 3))


def guard_legacy_key(client: redis.Redis) -> None:
    """Makes an operator's old `LLEN message_queue` fail loudly instead of saying 0 while messages wait."""
    client.set(LEGACY_QUEUE, _LEGACY_TEXT, nx=True)
