"""The problems of a proxy that cannot hand over: what the sender may conclude from each."""

from __future__ import annotations

from redis.exceptions import OutOfMemoryError

from messagebroker.http.problems import Problem


def not_sent() -> Problem:
    """Nothing reached Redis."""
    detail = "the queue does not answer; nothing was taken, send the same again"
    return Problem(503, "redis-unavailable", detail, headers={"Retry-After": "1"}, outcome="not-taken")


def refused(error: Exception) -> Problem:
    """Redis answered, and took nothing."""
    if isinstance(error, OutOfMemoryError) or "OOM" in str(error):  # a script's error has it in the text
        return full()
    detail = "the queue refuses to write at this moment; nothing was taken, send the same again"
    return Problem(503, "redis-unavailable", detail, headers={"Retry-After": "2"}, outcome="not-taken")


def full() -> Problem:
    """Admission: what memory is left belongs to the workers that drain."""
    detail = "the queue is full; nothing was taken, send the same again when workers have caught up"
    return Problem(503, "queue-full", detail, headers={"Retry-After": "5"}, outcome="not-taken")


def unknown() -> Problem:
    """The write was sent and its answer did not come."""
    detail = (
        "the queue did not confirm in time, so the outcome is unknown; "
        "with the same Idempotency-Key the same request can be sent again and is stored once"
    )
    return Problem(503, "redis-unavailable", detail, headers={"Retry-After": "1"}, outcome="unknown")


def maintenance() -> Problem:
    """While an operator has closed the entrance."""
    detail = "the system is under maintenance; nothing was taken, send the same again later"
    return Problem(503, "maintenance", detail, headers={"Retry-After": "30"}, outcome="not-taken")
