"""People's inboxes: putting messages in, listing them, marking what was read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import peewee as pw

from messagebroker.db import models
from messagebroker.db.connection import connected, database, is_mysql
from messagebroker.db.hints import by_index
from messagebroker.db.models import GroupMember, Message, Subscription, User
from messagebroker.db.writing import time_now
from messagebroker.errors import NotFound
from messagebroker.ops import clock
from messagebroker.ops.channels.inbox_config import InboxConfig
from messagebroker.ops.messages import PLAIN, MessageView, plain_members

InboxItem: Any = models.InboxItem  # the stubs of peewee know no columns

MOST_COUNTED = 1000
"""Unread items; somebody who never reads their inbox has very many, and every page shows the number."""
_CHUNK = 2000
"""Rows of one transaction that marks them."""


class ItemView(msgspec.Struct, kw_only=True):
    """What is plain of a message, and whether it was read here. `subscription`: by which it came; null: it is gone."""

    id: int
    created_at: datetime  # when it came into the inbox
    read_at: datetime | None
    subscription_id: int
    subscription: str | None
    message: MessageView


def add(messages: Sequence[bytes], people: Sequence[int], subscription_id: int) -> None:
    """Puts messages into inboxes, inside the caller's transaction. What is in one already stays as it is there.

    The database joins those that are there when it writes: a message or a person that is gone by now is left out. Messages
    come first in the order, as everywhere where they are locked.
    """
    named = ",".join(f"X'{message.hex()}'" for message in messages)
    numbers = ",".join(f"{person:d}" for person in people)
    columns = "user_id, message_id, subscription_id, created_at"
    source = f"SELECT users.id, messages.id, {subscription_id:d}, {time_now().sql} FROM messages"  # nosec B608 # noqa: S608 - a number
    chosen = f"JOIN users ON users.id IN ({numbers}) WHERE messages.id IN ({named}) ORDER BY messages.id, users.id"
    either = "IGNORE" if is_mysql() else "OR IGNORE"
    database.execute_sql(f"INSERT {either} INTO inbox_items ({columns}) {source} {chosen}")


def active_members(group_id: int) -> list[int]:
    """Ids of a group's members who can log in, in order."""
    query = User.select(User.id).join(GroupMember, on=GroupMember.user == User.id)
    found: Any = query.where(GroupMember.group == group_id, User.disabled_at.is_null()).order_by(User.id).tuples()
    return [int(row[0]) for row in found]


def is_for_group(group_id: int) -> bool:
    """Whether a subscription, also one that is disabled now, puts messages into the inboxes of this group's members."""
    config: Any = Subscription.select(Subscription.config).where(
        Subscription.channel == "inbox", Subscription.removed_at.is_null()
    )
    with connected():
        return any(msgspec.json.decode(text, type=InboxConfig).group == group_id for (text,) in config.tuples())


def page(user_id: int, *, limit: int, before: int | None = None, unread: bool = False) -> list[ItemView]:
    """Up to `limit` items of a person, the newest first: those with ids below `before`.

    With `unread`, those only that were not read.
    """
    index = "inbox_items_user_id_read_at_id" if unread else "inbox_items_user_id_id"
    conditions = [f"user_id = {user_id:d}"]
    if unread:
        conditions.append("read_at IS NULL")
    if before is not None:
        conditions.append(f"id < {before:d}")
    chosen = f"SELECT id FROM inbox_items{by_index(index)} WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT {limit:d}"  # nosec B608 # noqa: S608 - numbers
    with connected():
        # the index alone finds the ids; messages are looked up for one page only
        return _views([number for (number,) in database.execute_sql(chosen).fetchall()])


def find(user_id: int, number: int) -> ItemView:
    """One item of a person.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    with connected():
        found = _views([row_of(user_id, number).id])
    if not found:  # the cleanup came between
        raise _no_such(number)
    return found[0]


def row_of(user_id: int, number: int) -> Any:
    """The row, for callers with a connection; NotFound when this person has no such item."""
    row = InboxItem.get_or_none(InboxItem.id == number, InboxItem.user == user_id)
    if row is None:
        raise _no_such(number)
    return row


def unread(user_id: int) -> int:
    """How many items a person has not read; MOST_COUNTED stands for that many or more."""
    mine = InboxItem.select(InboxItem.id).where(InboxItem.user == user_id, InboxItem.read_at.is_null())
    with connected():
        return int(mine.limit(MOST_COUNTED).count())


def mark(user_id: int, number: int, *, read: bool) -> ItemView:
    """Marks one item; what is marked so already keeps its time.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    with connected(), database.atomic():
        one = (InboxItem.id == number) & (InboxItem.user == user_id)
        if read:
            InboxItem.update(read_at=clock.now()).where(one, InboxItem.read_at.is_null()).execute()
        else:
            InboxItem.update(read_at=None).where(one).execute()
        return find(user_id, number)


def mark_all(user_id: int, up_to: int) -> int:
    """Marks what a person has not read, but for items with ids above `up_to`, which came later; how many there were."""
    total = 0
    with connected():
        while True:
            with database.atomic():
                old = (InboxItem.user == user_id) & InboxItem.read_at.is_null() & (InboxItem.id <= up_to)
                found = InboxItem.select(InboxItem.id).where(old).order_by(InboxItem.id).limit(_CHUNK)
                numbers = [number for (number,) in found.tuples()]
                if numbers:
                    fresh = InboxItem.id.in_(numbers) & InboxItem.read_at.is_null()
                    total += InboxItem.update(read_at=clock.now()).where(fresh).execute()
            if len(numbers) < _CHUNK:
                return total


def _views(numbers: Sequence[int]) -> list[ItemView]:
    if not numbers:
        return []
    query = (
        InboxItem.select(InboxItem, Subscription.name.alias("subscription_name"), *PLAIN)
        .join(Message)
        .switch(InboxItem)
        .join(Subscription, pw.JOIN.LEFT_OUTER, on=Subscription.id == InboxItem.subscription_id, attr="came_by")
        .where(InboxItem.id.in_(numbers))
        .order_by(InboxItem.id.desc())
    )
    return [_view(row) for row in query]


def _view(row: Any) -> ItemView:
    came_by = getattr(row, "came_by", None)
    return ItemView(
        id=row.id,
        created_at=row.created_at,
        read_at=row.read_at,
        subscription_id=row.subscription_id,
        subscription=None if came_by is None else getattr(came_by, "subscription_name", None),
        message=MessageView(**plain_members(row.message, None)),
    )


def _no_such(number: int) -> NotFound:
    return NotFound(f"there is no item {number} in your inbox")
