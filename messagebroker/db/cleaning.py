"""Statements of the cleanup: each one a short transaction over few rows, found by primary key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import peewee as pw

from messagebroker.db import models
from messagebroker.db.models import FINAL_STATUSES
from messagebroker.db.writing import writing

Message: Any = models.Message  # the stubs of peewee know neither columns nor `delete`
DataKey: Any = models.DataKey
Subscription: Any = models.Subscription


def count_final_messages(before: bytes) -> dict[str, int]:
    """Messages in a final status with a smaller id, by status."""
    query = (
        Message.select(Message.status, pw.fn.COUNT(Message.id))
        .where(Message.id < before, Message.status.in_(FINAL_STATUSES))
        .group_by(Message.status)
    )
    return {str(status): int(number) for status, number in _rows(query)}


def next_message_ids(after: bytes, before: bytes, limit: int) -> list[bytes]:
    """The next ids of messages of any status, in order."""
    query = Message.select(Message.id).where(Message.id > after, Message.id < before).order_by(Message.id).limit(limit)
    return [bytes(row[0]) for row in _rows(query)]


def delete_final_messages(ids: Sequence[bytes]) -> dict[str, int]:
    """Deletes those of `ids` that are in a final status now, their aliases with them; the number by status."""
    with writing():
        query = Message.select(Message.id, Message.status)
        found = _rows(query.where(Message.id.in_(list(ids)), Message.status.in_(FINAL_STATUSES)))
        if found:
            doomed = [bytes(row[0]) for row in found]
            Message.delete().where(Message.id.in_(doomed), Message.status.in_(FINAL_STATUSES)).execute()
    return dict(Counter(str(row[1]) for row in found))


def next_data_keys(after: bytes, before: datetime, limit: int) -> list[models.DataKey]:
    """Data keys that no ingest has seen since `before`, in the order of their ids."""
    query = DataKey.select(DataKey.id, DataKey.created_at, DataKey.last_seen_at)
    return list(query.where(DataKey.last_seen_at < before, DataKey.id > after).order_by(DataKey.id).limit(limit))


def is_named(key_id: bytes, first: bytes, last: bytes) -> bool:
    """Whether a message with an id in that range, or a subscription's secrets, were sealed with that key."""
    if Subscription.select().where(Subscription.data_key_id == key_id).exists():
        return True
    return bool(Message.select().where(Message.id.between(first, last), Message.data_key_id == key_id).exists())


def delete_data_keys(ids: Sequence[bytes], before: datetime) -> int:
    """Deletes keys, but for those that an ingest has seen since they were looked up."""
    return int(DataKey.delete().where(DataKey.id.in_(list(ids)), DataKey.last_seen_at < before).execute())


def _rows(query: Any) -> list[tuple[Any, ...]]:
    return list(query.tuples())
