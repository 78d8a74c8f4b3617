"""A person's own inbox."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from messagebroker.client.answers import Message
from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, Page, get, send, under

INBOX = "/api/v1/inbox"


class Item(Struct, frozen=True, kw_only=True):
    """A message in the inbox, unopened; `subscription` is the name of what it came by."""

    id: int
    created_at: datetime
    message: Message
    read_at: datetime | None = None
    subscription_id: int = 0
    subscription: str | None = None


class OpenedItem(Struct, frozen=True, kw_only=True):
    """The item and its message with the body."""

    item: Item
    message: Message


class Unread(Struct, frozen=True, kw_only=True):
    """1000 stands for that many or more."""

    unread: int


class Marked(Struct, frozen=True, kw_only=True):
    """How many were unread before."""

    marked: int


def page(caller: Caller, *, unread: bool = False, limit: int = 50, cursor: str | None = None) -> Call[Page[Item]]:
    """A part of it, newest first; with `unread`, of what was not read."""
    return get(caller, INBOX, _PAGE, unread=unread or None, limit=limit, cursor=cursor)


def opened(caller: Caller, item: int) -> Call[OpenedItem]:
    """One item with its message, opened, which main records. It stays unread until it is marked."""
    return get(caller, under(INBOX, item), _OPENED)


def count(caller: Caller) -> Call[Unread]:
    """How much was not read."""
    return get(caller, under(INBOX, "unread"), _UNREAD)


def read(caller: Caller, item: int) -> Call[Item]:
    """Marks one as read."""
    return send(caller, "POST", under(INBOX, item, "read"), _ITEM)


def unread(caller: Caller, item: int) -> Call[Item]:
    """Marks one as unread."""
    return send(caller, "POST", under(INBOX, item, "unread"), _ITEM)


def read_all(caller: Caller, up_to: int) -> Call[Marked]:
    """Marks everything as read but what came after the item `up_to`."""
    return send(caller, "POST", under(INBOX, "read-all"), _MARKED, {"up_to": up_to})


class InboxMethods:
    """Of the clients."""

    inbox = Method(page)
    open_inbox_item = Method(opened)
    unread_count = Method(count)
    read_inbox_item = Method(read)
    unread_inbox_item = Method(unread)
    read_whole_inbox = Method(read_all)


_PAGE = reader(Page[Item])
_OPENED = reader(OpenedItem)
_UNREAD = reader(Unread)
_ITEM = reader(Item)
_MARKED = reader(Marked)
