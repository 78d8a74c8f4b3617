"""Accepted messages that could not be stored."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, Page, get, send, under

FAILURES = "/api/v1/ingest-failures"


class Failure(Struct, frozen=True, kw_only=True):
    """What is plain of a message that was set aside. The last five are None in a list, and where it cannot be read."""

    message_id: str
    client_id: str
    accepted_at: datetime
    failed_at: datetime
    error: str
    records: int | None = None
    topic: str | None = None
    priority: str | None = None
    size: int | None = None
    correlation_id: str | None = None


class Retried(Struct, frozen=True, kw_only=True):
    """It is stored, was stored already, or an earlier copy answers for it."""

    message_id: str
    stored: int
    duplicates: int = 0
    aliased: int = 0


def page(caller: Caller, *, oldest_first: bool = False, limit: int = 50, cursor: str | None = None) -> Call[Page[Failure]]:
    """A part of the list, the last one first."""
    return get(caller, FAILURES, _PAGE, order="asc" if oldest_first else "desc", limit=limit, cursor=cursor)


def one(caller: Caller, message_id: str) -> Call[Failure]:
    """One of them; its body stays sealed."""
    return get(caller, under(FAILURES, message_id), _FAILURE)


def retry(caller: Caller, message_id: str) -> Call[Retried]:
    """Stores it again; a Problem `still-refused` says why that failed."""
    return send(caller, "POST", under(FAILURES, message_id, "retry"), _RETRIED)


class FailureMethods:
    """Of the clients."""

    failures = Method(page)
    failure = Method(one)
    retry_failure = Method(retry)


_PAGE = reader(Page[Failure])
_FAILURE = reader(Failure)
_RETRIED = reader(Retried)
