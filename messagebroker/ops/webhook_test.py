"""A test event, sent through a webhook's channel at once. It is stored nowhere and tried once."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import Any

import msgspec

from messagebroker.db.connection import connected
from messagebroker.errors import Unavailable
from messagebroker.ops import audit, clock, ids
from messagebroker.ops.audit import Actor
from messagebroker.ops.channels import CHANNELS
from messagebroker.ops.channels.channel import Outcome, Target, Work
from messagebroker.ops.records import Payload
from messagebroker.ops.subscription_fields import config_of
from messagebroker.ops.subscriptions import details_of, row_of, secrets_of
from messagebroker.ops.webhooks import require_webhook
from messagebroker.settings import Settings

TOPIC = "messagebroker.test"
AT_ONCE = 2
"""In one process: each holds a thread that others wait for while the receiver hangs."""

LONGEST_SECONDS = 15.0
"""Also where the webhook's own time-out is longer."""

_places = threading.BoundedSemaphore(AT_ONCE)


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What came of it. `answer`: the first of what the receiver said."""

    delivered: bool
    message_id: str
    code: int | None
    error: str | None
    duration_ms: int
    request: dict[str, str]
    answer: str


class TooMany(Unavailable):
    """Other tests are waiting for their receivers."""


def run(settings: Settings, number: int, actor: Actor) -> Tested:
    """Sends one signed event to the webhook, also to a disabled one: it may be tested before it is enabled again.

    Raises:
        NotFound: there is no such webhook.
        Damaged: its secrets do not open.
        TooMany: AT_ONCE tests are running.
    """
    with connected():
        row = row_of(number)
        require_webhook(details_of(row))
        target = Target(id=number, name=row.name, config=_in_time(config_of(row)), secrets=secrets_of(settings, row))
    if not _places.acquire(blocking=False):
        raise TooMany(f"{AT_ONCE} tests are running already; try again in a few seconds")
    try:
        work, began = _work(target), time.monotonic()
        outcome = asyncio.run(_deliver(settings, work))
        duration = round((time.monotonic() - began) * 1000)
    finally:
        _places.release()
    told = {"outcome": outcome.kind, "code": outcome.code, "error": outcome.error}
    audit.record_by(actor, "webhook.test", "subscription", str(number), told)
    return Tested(
        delivered=outcome.kind == "delivered",
        message_id=ids.text(work.message_id),
        code=outcome.code,
        error=outcome.error,
        duration_ms=duration,
        request=outcome.request,
        answer=outcome.answer.decode("utf-8", "replace"),
    )


async def _deliver(settings: Settings, work: Work) -> Outcome:
    channel = CHANNELS["webhook"].make(settings)
    try:
        async with asyncio.timeout(LONGEST_SECONDS + 1):
            [outcome] = await channel.deliver([work])
    except TimeoutError:
        return Outcome(kind="retry", error=f"no answer within {LONGEST_SECONDS:g} s")
    finally:
        await channel.close()
    return outcome


def _in_time(config: Any) -> Any:
    return msgspec.structs.replace(config, timeout=min(config.timeout, LONGEST_SECONDS))


def _work(target: Target) -> Work:
    now = clock.now()
    body = msgspec.json.encode({"type": TOPIC, "text": "a test: this endpoint is reached and can check signatures"}).decode()
    return Work(
        message_id=ids.new(),
        client="messagebroker",
        topic=TOPIC,
        priority="normal",
        created_at=now,
        attempt=1,
        payload=Payload(body, None, {"test": True}, "application/json"),
        target=target,
    )
