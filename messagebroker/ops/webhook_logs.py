"""The attempts of a webhook, newest first."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.db.models import Message
from messagebroker.errors import Damaged
from messagebroker.ops import audit, ids
from messagebroker.ops.audit import Actor
from messagebroker.ops.deliveries.claimed import keys_of
from messagebroker.ops.deliveries.opening import Payloads
from messagebroker.ops.records import SealedKey
from messagebroker.ops.webhooks import FAILURES

DeliveryAttempt: Any = models.DeliveryAttempt

OUTCOMES = ("delivered", *FAILURES)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One attempt. `request`: the headers that were sent, secrets masked. `answer`: its first 4 KiB, when it was asked for."""

    id: int
    message_id: str
    number: int
    started_at: datetime
    duration_ms: int
    outcome: str
    code: int | None
    error: str | None
    request: dict[str, str] | None
    answer: str | None
    asked_by: str | None


def page(number: int, *, limit: int, after: int | None = None, outcome: str | None = None) -> list[Entry]:
    """Up to `limit` attempts for the subscription of this number, those before the attempt `after`, without answers."""
    with connected():
        return [_entry(row, None) for row in _rows(number, limit, after, outcome)]


def page_with_answers(
    payloads: Payloads, actor: Actor, number: int, *, limit: int, after: int | None = None, outcome: str | None = None
) -> list[Entry]:
    """The same with what receivers answered, which may hold what they got: the audit log keeps who looked.

    Raises:
        Damaged: an answer does not open.
    """
    with connected():
        rows = _rows(number, limit, after, outcome)
        if any(row.answer is not None for row in rows):
            told = {"messages": sorted({ids.text(row.message_id) for row in rows if row.answer is not None})}
            audit.record_by(actor, "webhook.logs-open", "subscription", str(number), told)
        answers = _answers(payloads, rows)
        return [_entry(row, answers.get(row.id)) for row in rows]


def _rows(number: int, limit: int, after: int | None, outcome: str | None) -> list[Any]:
    """A page of each outcome is enough, each from a range of the index."""
    found: list[int] = []
    for one in OUTCOMES if outcome is None else (outcome,):
        query = DeliveryAttempt.select(DeliveryAttempt.id).where(
            DeliveryAttempt.subscription_id == number, DeliveryAttempt.outcome == one
        )
        query = query if after is None else query.where(DeliveryAttempt.id < after)
        found += [row[0] for row in query.order_by(DeliveryAttempt.id.desc()).limit(limit).tuples()]
    wanted = heapq.nlargest(limit, found)
    if not wanted:
        return []
    return list(DeliveryAttempt.select().where(DeliveryAttempt.id.in_(wanted)).order_by(DeliveryAttempt.id.desc()))


def _answers(payloads: Payloads, rows: list[Any]) -> dict[int, str]:
    with_one = [row for row in rows if row.answer is not None]
    if not with_one:
        return {}
    wanted = sorted({bytes(row.message_id) for row in with_one})
    named: Any = Message.select(Message.id, Message.data_key_id).where(Message.id << wanted).tuples()
    keys_by_message = {bytes(message): bytes(key) for message, key in named}
    keys = keys_of(set(keys_by_message.values()))
    return {row.id: _text(payloads, row, keys.get(keys_by_message.get(bytes(row.message_id), b""))) for row in with_one}


def _text(payloads: Payloads, row: Any, key: SealedKey | None) -> str:
    """One that does not open takes none of the others with it."""
    if key is None:
        return "(the data key of the message is gone)"
    try:
        return payloads.open_answer(bytes(row.message_id), bytes(row.answer), key).decode("utf-8", "replace")
    except Damaged as error:
        return f"({error})"


def _entry(row: Any, answer: str | None) -> Entry:
    return Entry(
        id=row.id,
        message_id=ids.text(row.message_id),
        number=row.number,
        started_at=row.started_at,
        duration_ms=row.duration_ms,
        outcome=row.outcome,
        code=row.code,
        error=row.error,
        request=None if row.request is None else msgspec.json.decode(row.request),
        answer=answer,
        asked_by=row.asked_by,
    )
