"""What a submit is answered."""

from __future__ import annotations

import time
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from messagebroker.http.problems import Problem
from messagebroker.http.proxy.admission import Durability
from messagebroker.http.proxy.draw import Draw
from messagebroker.ops import clock


class Accepted(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The message is taken over."""

    message_id: str
    status: str  # `queued`; after `Prefer: wait` and in time, the stored message's
    client_id: str
    queued_at: str
    topic: str
    durability: Durability
    deliver_at: datetime | UnsetType = UNSET
    deprecated_topics: list[str] | UnsetType = UNSET  # the topic, when the catalogue says not to use it any more


class BatchItem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One message of a batch: `message_id` when it was taken, else `problem`."""

    index: int
    message_id: str | UnsetType = UNSET
    status: Literal["queued"] | UnsetType = UNSET
    problem: dict[str, Any] | UnsetType = UNSET


class AcceptedBatch(msgspec.Struct, kw_only=True):
    """A batch, item by item. 202 when all were taken, 207 when some were not."""

    accepted: int
    refused: int
    durability: Durability
    client_id: str
    queued_at: str
    items: list[BatchItem]
    deprecated_topics: list[str] | UnsetType = UNSET  # of those that were sent to


_json = msgspec.json.Encoder().encode


def single(
    draw: Draw, client: str, topic: str, durability: Durability, deliver_at: int | None, deprecated: list[str]
) -> Accepted:
    """The answer to one message."""
    return Accepted(
        message_id=draw.message_id(),
        status="queued",
        client_id=client,
        queued_at=rfc3339(draw.accepted_at),
        topic=topic,
        durability=durability,
        deliver_at=UNSET if deliver_at is None else clock.from_micros(deliver_at),
        deprecated_topics=deprecated or UNSET,
    )


def batch(draw: Draw, client: str, durability: str, count: int, problems: dict[int, Problem], deprecated: list[str]) -> bytes:
    """The answer to a batch of `count` items, in JSON: put together from parts, for it can have a thousand items."""
    if not problems:
        items = draw.queued_items(count)
    else:
        items = ",".join(
            _refused(number, problems[number]) if number in problems else draw.queued_item(number) for number in range(count)
        )
    head = (
        f'{{"accepted":{count - len(problems)},"refused":{len(problems)},"durability":"{durability}",'
        f'"client_id":"{client}","queued_at":"{rfc3339(draw.accepted_at)}","items":['
    )
    tail = f',"deprecated_topics":{_json(deprecated).decode()}' if deprecated else ""
    return f"{head}{items}]{tail}}}".encode()


def _refused(number: int, problem: Problem) -> str:
    return f'{{"index":{number},"problem":{_json(problem.document).decode()}}}'


def rfc3339(micros: int) -> str:
    """`2030-01-31T08:00:00.123456Z`."""
    seconds, rest = divmod(micros, 1_000_000)
    return f"{_second(seconds)}.{rest:06d}Z"


@lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
