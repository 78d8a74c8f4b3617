"""The way from an accepted message to its row: `add_calls` in a proxy, the `ingest` actors in a worker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dramatiq

from messagebroker.actors.broker import SCRIPTS, broker, new_call_id
from messagebroker.actors.storing import store_calls
from messagebroker.db.models import PRIORITIES
from messagebroker.ops.queues import guard_legacy_key
from messagebroker.ops.records import Record, SealedKey, encode_call
from messagebroker.ops.redis_client import NAMESPACE

if TYPE_CHECKING:
    import redis
    from redis.client import Pipeline

CALL_MESSAGES = 500
"""A longer list becomes several calls, so that several workers can take it."""

CALL_BYTES = 4 * 1024 * 1024


def prepare(client: redis.Redis) -> None:
    """What a sender does to a Redis that may be new: nothing has to be loaded, only the old queue's name is guarded."""
    guard_legacy_key(client)


def add_calls(pipe: Pipeline, records: list[Record], keys: dict[bytes, SealedKey]) -> None:
    """Adds the calls that carry these records to an open MULTI: one command for each priority and 500 messages.

    The command is an EVAL of the script's text, not of its hash: a Redis that has just restarted must not refuse one
    command of a MULTI and carry out the others.

    Args:
        pipe: `client.pipeline(transaction=True)`; what else it holds happens together with the enqueueing.
        records: in any order and of any priority.
        keys: at least those that the records name.
    """
    for part in _parts(records):
        queue = PRIORITIES[part[0].priority]
        named = {record.data_key_id for record in part}
        call = encode_call(part, [keys[key_id] for key_id in named])
        call_id = new_call_id(len(part))
        pipe.execute_command(  # type: ignore[no-untyped-call]
            "EVAL", SCRIPTS["enqueue"], 0, NAMESPACE, queue, call_id, _message(queue, call_id, call), len(part), ""
        )


def _message(queue: str, call_id: str, call: bytes) -> bytes:
    return dramatiq.Message(
        queue_name=queue,
        actor_name=f"ingest_{queue}",
        args=(call,),
        kwargs={},
        options={},
        message_id=call_id,
        message_timestamp=time.time_ns() // 1_000_000,
    ).encode()


def _parts(records: list[Record]) -> Iterator[list[Record]]:
    """Lists of one priority each, none too long."""
    by_priority: dict[int, list[Record]] = {}
    for record in records:
        by_priority.setdefault(record.priority, []).append(record)
    for same in by_priority.values():
        if len(same) <= CALL_MESSAGES and sum([len(record.sealed) for record in same]) <= CALL_BYTES:
            yield same
        else:
            yield from _split(same)


def _split(records: list[Record]) -> Iterator[list[Record]]:
    part: list[Record] = []
    size = 0
    for record in records:
        if part and (len(part) == CALL_MESSAGES or size + len(record.sealed) > CALL_BYTES):
            yield part
            part, size = [], 0
        part.append(record)
        size += len(record.sealed)
    yield part


def _declare(queue: str, priority: int) -> dramatiq.Actor[Any, Any]:
    """One actor a priority: a Redis queue is what orders them, and threads shared by queues take the lower number first."""

    def ingest(*calls: bytes, crashes: int = 0) -> None:
        store_calls(calls, queue=queue, crashes=crashes, stopping=broker.stopping)

    options: dict[str, Any] = {"queue_name": queue, "priority": priority, "broker": broker, "merges": True}
    return dramatiq.actor(actor_name=f"ingest_{queue}", **options)(ingest)


INGEST = {queue: _declare(queue, number) for number, queue in enumerate(PRIORITIES)}
"""By queue."""
