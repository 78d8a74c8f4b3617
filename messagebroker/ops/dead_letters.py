"""Dead letters: failed deliveries, grouped by destination and kind of error. Read by the index of failed ones alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
import peewee as pw

from messagebroker.db.connection import connected, database
from messagebroker.db.hints import by_index
from messagebroker.db.models import PRIORITIES, Delivery, Message, Subscription
from messagebroker.errors import Refused
from messagebroker.ops import ids
from messagebroker.ops.dead_letter_selection import INDEX, Position, Selection, after, pairs
from messagebroker.ops.deliveries.claimed import Pair, among

Group = tuple[int, str | None]
"""Subscription and fingerprint."""


class GroupView(msgspec.Struct, kw_only=True):
    """Failures of one kind at one destination. Times are when the first and the last of the messages were accepted."""

    subscription_id: int
    subscription: str | None  # its name; None: it is gone
    channel: str | None
    state: str  # of the subscription: "active", "disabled" or "removed"
    fingerprint: str | None
    count: int
    first_at: datetime
    last_at: datetime
    error: str | None  # of the last message
    message_id: str  # the last one


class DeadLetterView(msgspec.Struct, kw_only=True):
    """A failed delivery, with what is plain of its message."""

    message_id: str
    subscription_id: int
    subscription: str | None
    channel: str | None
    fingerprint: str | None
    error: str | None
    attempts: int
    failed_at: datetime | None
    client_id: str
    topic: str
    priority: str
    accepted_at: datetime


def groups(limit: int, position: Group | None = None) -> list[GroupView]:
    """Up to `limit` groups in the order of subscriptions, then fingerprints; those after `position`."""
    with connected():
        found: list[tuple[Any, ...]] = []
        for part in _following(position):
            if len(found) < limit:
                found += _grouped(part, limit - len(found))
        rows = _deliveries([(bytes(last), number) for number, _, _, _, last in found])
        subscriptions = _subscriptions({row[0] for row in found})
    return [_group(row, rows, subscriptions.get(row[0])) for row in found]


def page(selection: Selection, limit: int, position: Position | None = None) -> list[DeadLetterView]:
    """Up to `limit` of them in the order of subscription, fingerprint and message; those after `position`.

    Raises:
        Refused: no index leads to these without passing over others.
    """
    _refuse_unindexed(selection)
    with connected():
        found = pairs(after(selection, position, limit))
        rows = _deliveries(found)
        messages = _messages({message for message, _ in found})
        subscriptions = _subscriptions({number for _, number in found})
    return [
        _view(rows[pair], messages[pair[0]], subscriptions.get(pair[1]))
        for pair in found
        if pair in rows and pair[0] in messages  # retried or cleaned up meanwhile
    ]


def position_of(view: DeadLetterView) -> Position:
    """Where a page that ends with it goes on."""
    message_id = ids.parse(view.message_id)
    assert message_id is not None
    return Position(view.subscription_id, view.fingerprint, message_id)


def _refuse_unindexed(selection: Selection) -> None:
    named = {name for name in selection.__struct_fields__ if getattr(selection, name)}
    group = {"subscription_id", "fingerprint"}
    if named <= {"all"} or named == {"subscription_id"} or group <= named or named == {"message_id"}:
        return
    raise Refused(
        f"no index serves {' with '.join(sorted(named))}; list by subscription_id, by subscription_id with fingerprint"
        " (then also since and until), or by message_id"
    )


def _following(position: Group | None) -> Iterator[str]:
    if position is None:
        yield ""
        return
    subscription, mark = position
    yield f" AND subscription_id = {subscription:d} AND fingerprint > '{mark or ''}'"
    yield f" AND subscription_id > {subscription:d}"


def _grouped(part: str, limit: int) -> list[tuple[Any, ...]]:
    """Ids are in the order of time, so that the smallest and the largest say when: all is in the index."""
    sql = (  # numbers and fingerprints alone are put in
        "SELECT subscription_id, fingerprint, COUNT(*), MIN(message_id), MAX(message_id)"  # nosec B608 # noqa: S608
        f" FROM deliveries{by_index(INDEX)} WHERE status = 'failed'{part} GROUP BY subscription_id, fingerprint"
        f" ORDER BY subscription_id, fingerprint LIMIT {limit:d}"
    )
    return list(database.execute_sql(sql).fetchall())


def _deliveries(found: list[Pair]) -> dict[Pair, Delivery]:
    rows = Delivery.select().where(among(found)) if found else ()
    return {(bytes(row.message_id), row.subscription_id): row for row in rows}


def _messages(found: set[bytes]) -> dict[bytes, Message]:
    columns = (Message.id, Message.client_id, Message.topic, Message.priority, Message.created_at)
    rows = Message.select(*columns).where(Message.id << sorted(found)) if found else ()
    return {bytes(row.id): row for row in rows}


def _subscriptions(found: set[int]) -> dict[int, Subscription]:
    columns = (Subscription.id, Subscription.name, Subscription.channel, Subscription.disabled_at, Subscription.removed_at)
    rows: pw.ModelSelect[Subscription] | tuple[()] = (
        Subscription.select(*columns).where(Subscription.id << sorted(found)) if found else ()
    )
    return {row.id: row for row in rows}


def state_of(subscription: Subscription | None) -> str:
    """What becomes of a delivery that is retried: only an active one tries it."""
    if subscription is None or subscription.removed_at is not None:
        return "removed"
    return "active" if subscription.disabled_at is None else "disabled"


def _group(row: tuple[Any, ...], rows: dict[Pair, Delivery], subscription: Subscription | None) -> GroupView:
    number, mark, count, first, last = row
    example = rows.get((bytes(last), number))
    return GroupView(
        subscription_id=number,
        subscription=subscription.name if subscription else None,
        channel=subscription.channel if subscription else None,
        state=state_of(subscription),
        fingerprint=mark,
        count=int(count),
        first_at=ids.drawn_at(bytes(first)),
        last_at=ids.drawn_at(bytes(last)),
        error=example.error if example else None,
        message_id=ids.text(bytes(last)),
    )


def _view(row: Delivery, message: Message, subscription: Subscription | None) -> DeadLetterView:
    return DeadLetterView(
        message_id=ids.text(bytes(row.message_id)),
        subscription_id=row.subscription_id,
        subscription=subscription.name if subscription else None,
        channel=subscription.channel if subscription else None,
        fingerprint=row.fingerprint,
        error=row.error,
        attempts=row.attempts,
        failed_at=row.ended_at,
        client_id=message.client_id,
        topic=message.topic,
        priority=PRIORITIES[message.priority],
        accepted_at=message.created_at,
    )
