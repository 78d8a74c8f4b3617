"""Stored messages: search, read, cancel, count."""

from __future__ import annotations

from datetime import datetime

from messagebroker.client.answers import Counts, Message, MessagePage
from messagebroker.client.calls import Call, Param, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, get, send, under

MESSAGES = "/api/v1/messages"


def page(caller: Caller, **filters: Param) -> Call[MessagePage]:
    """A part of the list, newest first.

    `client`, `topic`, `status`, `correlation_id`, `sender`, `since`, `until`, `order` (`asc`, `desc`), `limit`, `cursor`.
    """
    return get(caller, MESSAGES, _PAGE, **filters)


def one(caller: Caller, message_id: str, *, body: bool = False) -> Call[Message]:
    """One message; with `body`, opened, which main records."""
    return get(caller, under(MESSAGES, message_id), _MESSAGE, body=body or None)


def opened(caller: Caller, message_id: str) -> Call[Message]:
    """The same as `message` with `body`."""
    return get(caller, under(MESSAGES, message_id, "body"), _MESSAGE)


def cancel(caller: Caller, message_id: str) -> Call[Message]:
    """Takes a scheduled one back; a Problem `not-scheduled` when it has begun or ended."""
    return send(caller, "POST", under(MESSAGES, message_id, "cancel"), _MESSAGE)


def counts(caller: Caller, client: str, *, since: datetime | None = None, until: datetime | None = None) -> Call[Counts]:
    """A client's messages per hour, of the last 24 hours unless told otherwise; up to 31 days."""
    return get(caller, under(MESSAGES, "counts"), _COUNTS, client=client, since=since, until=until)


class MessageMethods:
    """Of the clients."""

    messages = Method(page)
    message = Method(one)
    open_message = Method(opened)
    cancel_message = Method(cancel)
    message_counts = Method(counts)


_PAGE = reader(MessagePage)
_MESSAGE = reader(Message)
_COUNTS = reader(Counts)
