"""Queues and workers: seeing what waits, and steering it."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType, field

from messagebroker.client.answers import QueuePause, QueueStats
from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, Page, get, send, under

QUEUE = "/api/v1/queue"
WORKERS = "/api/v1/workers"


class QueueControl(Struct, frozen=True, kw_only=True):
    """A queue; `paused` None: it runs. `changed`: whether this call did that."""

    queue: str
    paused: QueuePause | None = None
    changed: bool = False


class Peeked(Struct, frozen=True, kw_only=True):
    """A message that comes next. `state`: "accepted" is to be stored, "due" to be delivered to the subscription."""

    state: str
    message_id: str
    client_id: str
    topic: str
    created_at: datetime
    age_seconds: float
    subscription_id: int | None = None
    attempts: int = 0


class Peek(Struct, frozen=True, kw_only=True):
    """The next messages of a queue."""

    queue: str
    items: list[Peeked]


class Drained(Struct, frozen=True, kw_only=True):
    """`drained`: nothing waits and nothing runs. Otherwise so many do; ask again."""

    queue: str
    drained: bool
    waiting: int
    running: int


class Purged(Struct, frozen=True, kw_only=True):
    """`cancelled` deliveries, `left` to be cancelled by calls with the same `before`; `unstored` messages stay."""

    queue: str
    before: datetime
    cancelled: int
    left: int
    unstored: int = 0


class StuckReset(Struct, frozen=True, kw_only=True):
    """Deliveries by queue that are pending again, and messages that came to their end; would, when `dry_run`."""

    dry_run: bool
    deliveries: dict[str, int] = field(default_factory=dict)
    messages: int = 0
    oldest_seconds: float = 0.0


class Worker(Struct, frozen=True, kw_only=True):
    """A process. `runs` False: it was not seen lately. What it has not told is None."""

    instance: str
    host: str
    pid: int
    started_at: datetime
    seen_at: datetime
    runs: bool
    version: str | None = None
    threads: int | None = None
    calls: int | None = None
    deliveries: int | None = None
    deliveries_at_once: int | None = None
    stored_per_second: float | None = None
    delivered_per_second: float | None = None


class Override(Struct, frozen=True, kw_only=True):
    """A number that is in force in place of a setting."""

    value: int
    changed_by: str
    changed_at: datetime


class Concurrency(Struct, frozen=True, kw_only=True):
    """What each worker process does at once; None: as its settings say."""

    threads: Override | None = None
    deliveries: Override | None = None


def queue_stats(caller: Caller) -> Call[QueueStats]:
    """All queues, in messages."""
    return get(caller, QUEUE + "/stats", _STATS)


def peek(caller: Caller, queue: str, *, limit: int = 20) -> Call[Peek]:
    """The next messages of a queue, without taking them and without their bodies."""
    return get(caller, under(QUEUE, queue, "peek"), _PEEK, limit=limit)


def pause(caller: Caller, queue: str, *, reason: str = "") -> Call[QueueControl]:
    """Workers begin nothing new of it within about a second."""
    return send(caller, "POST", under(QUEUE, queue, "pause"), _CONTROL, {"reason": reason})


def resume(caller: Caller, queue: str) -> Call[QueueControl]:
    """Whoever paused it."""
    return send(caller, "POST", under(QUEUE, queue, "resume"), _CONTROL)


def drain(caller: Caller, queue: str, *, seconds: int = 10, stored: bool = False) -> Call[Drained]:
    """Whether it is empty, after waiting for that up to ten `seconds`; `stored`: every message is stored will do."""
    return send(caller, "POST", under(QUEUE, queue, "drain"), _DRAINED, {"seconds": seconds, "stored": stored})


def preview_purge(caller: Caller, queue: str) -> Call[Purged]:
    """What `purge_queue` would cancel."""
    return send(caller, "POST", under(QUEUE, queue, "purge"), _PURGED, {"dry_run": True})


def purge(caller: Caller, queue: str, confirm: str, reason: str, *, before: datetime | None = None) -> Call[Purged]:
    """Cancels pending deliveries, for good. `confirm` is the queue's name, typed; `before` that of the call before."""
    document = {"confirm": confirm, "reason": reason, "before": before}
    return send(caller, "POST", under(QUEUE, queue, "purge"), _PURGED, document)


def reset_stuck(caller: Caller, *, older_than: int = 3600, dry_run: bool = False) -> Call[StuckReset]:
    """Deliveries taken longer ago than so many seconds, or by a worker that is gone, are pending again."""
    return send(caller, "POST", QUEUE + "/reset-stuck", _RESET, {"older_than": older_than, "dry_run": dry_run})


def workers(caller: Caller, *, limit: int = 50, cursor: str | None = None) -> Call[Page[Worker]]:
    """Worker processes."""
    return get(caller, WORKERS, _WORKERS, limit=limit, cursor=cursor)


def concurrency(caller: Caller) -> Call[Concurrency]:
    """What each worker process does at once."""
    return get(caller, WORKERS + "/concurrency", _CONCURRENCY)


def scale(
    caller: Caller, *, threads: int | UnsetType | None = UNSET, deliveries: int | UnsetType | None = UNSET
) -> Call[Concurrency]:
    """Sets that, without a restart; None returns to what the settings say, what is left out stays."""
    document = {"threads": threads, "deliveries": deliveries}
    return send(caller, "PUT", WORKERS + "/concurrency", _CONCURRENCY, document)


class QueueMethods:
    """Of the clients."""

    queue_stats = Method(queue_stats)
    peek_queue = Method(peek)
    pause_queue = Method(pause)
    resume_queue = Method(resume)
    drain_queue = Method(drain)
    preview_purge_queue = Method(preview_purge)
    purge_queue = Method(purge)
    reset_stuck = Method(reset_stuck)
    workers = Method(workers)
    concurrency = Method(concurrency)
    scale_workers = Method(scale)


_STATS = reader(QueueStats)
_PEEK = reader(Peek)
_CONTROL = reader(QueueControl)
_DRAINED = reader(Drained)
_PURGED = reader(Purged)
_RESET = reader(StuckReset)
_WORKERS = reader(Page[Worker])
_CONCURRENCY = reader(Concurrency)
