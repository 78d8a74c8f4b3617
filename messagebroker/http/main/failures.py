"""/api/v1/ingest-failures: accepted messages that could not be stored, and another try for them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

import falcon
import msgspec

from messagebroker.db.models import PRIORITIES, IngestFailure
from messagebroker.errors import Refused
from messagebroker.http.decoding import answer, read_query
from messagebroker.http.main.callers import Right
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.main.message import MessageId, parsed
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import cursors, failures, ids
from messagebroker.ops.deliveries.routing import router_of
from messagebroker.ops.permissions import Permission
from messagebroker.ops.records import decode_call
from messagebroker.settings import Settings

PATH = "/api/v1/ingest-failures"
ONE = PATH + "/{message_id}"


class FailureQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How much, from where on."""

    order: Literal["desc", "asc"] = "desc"
    limit: Limit = 50
    cursor: Cursor | None = None


class FailureView(msgspec.Struct, kw_only=True):
    """A record that was set aside. `client_id` is `unknown` for a call that cannot be read at all."""

    message_id: str
    client_id: str
    accepted_at: datetime
    failed_at: datetime
    error: str


class FailureDetail(FailureView, kw_only=True):
    """With what is plain of it; null where the record cannot be read."""

    records: int | None
    topic: str | None
    priority: str | None
    size: int | None
    correlation_id: str | None


class FailurePage(msgspec.Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[FailureView]
    next: str | None


class RetryAnswer(msgspec.Struct, kw_only=True):
    """What became of it: it is stored, or was stored already (under this id, or under the id of an earlier copy)."""

    message_id: str
    stored: int
    duplicates: int
    aliased: int


class Failures:
    """In the order in which they failed."""

    rights: ClassVar = {"GET": Right(permission=Permission.FAILURES_READ)}
    operations: ClassVar = (
        Operation(
            "GET", PATH, "Messages that could not be stored", responses={200: FailurePage}, query=FailureQuery,
            security=TOKEN, tag="operations",
        ),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page, newest first unless asked otherwise."""
        query = read_query(request, FailureQuery)
        try:
            after = None if query.cursor is None else cursors.read_due(query.cursor)
        except cursors.WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        found = failures.page(query.limit + 1, newest_first=query.order == "desc", after=after)
        listed = found[: query.limit]
        more = len(found) > query.limit
        last = cursors.of_due(listed[-1].failed_at, bytes(listed[-1].id)) if more else None
        answer(response, FailurePage(items=[FailureView(**_plain(failure)) for failure in listed], next=last))


class OneFailure:
    """What is known of one; its body stays sealed until it is stored."""

    rights: ClassVar = {"GET": Right(permission=Permission.FAILURES_READ)}
    operations: ClassVar = (
        Operation(
            "GET", ONE, "One that could not be stored", responses={200: FailureDetail, 404: None},
            path_types={"message_id": MessageId}, security=TOKEN, tag="operations",
        ),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response, message_id: str) -> None:
        """The record's plain side."""
        failure = failures.find(parsed(message_id))
        answer(response, FailureDetail(**_plain(failure), **_inside(bytes(failure.record))))


class RetryFailure:
    """The same as `messagebroker queue retry`."""

    rights: ClassVar = {"POST": Right(permission=Permission.FAILURES_RETRY)}
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/retry", "Store it again", responses={200: RetryAnswer, 404: None, 409: None},
            path_types={"message_id": MessageId}, security=TOKEN, tag="operations",
            description="409 `still-refused`, with the reason, when the database refuses it again; it is kept then.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._router = router_of(settings)

    def on_post(self, request: falcon.Request, response: falcon.Response, message_id: str) -> None:
        """What became of it."""
        failure_id = parsed(message_id)
        try:
            found = failures.retry(failure_id, request.context.caller.actor, self._router)
        except Refused as error:
            raise Problem(409, "still-refused", str(error)) from None
        answer(
            response,
            RetryAnswer(
                message_id=ids.text(failure_id), stored=found.stored, duplicates=found.duplicates, aliased=found.aliased
            ),
        )


def _plain(failure: IngestFailure) -> dict[str, Any]:
    names = ("client_id", "accepted_at", "failed_at", "error")
    return {"message_id": ids.text(bytes(failure.id)), **{name: getattr(failure, name) for name in names}}


def _inside(record: bytes) -> dict[str, Any]:
    """Whatever can be read of it: that something cannot may be why it is here."""
    names = ("topic", "size", "correlation_id")
    try:
        records = decode_call(record).records
    except (ValueError, RecursionError):
        return {"records": None, "priority": None, **dict.fromkeys(names)}
    if len(records) != 1:
        return {"records": len(records), "priority": None, **dict.fromkeys(names)}
    [one] = records
    priority = PRIORITIES[one.priority] if 0 <= one.priority < len(PRIORITIES) else None
    return {"records": 1, "priority": priority, **{name: getattr(one, name) for name in names}}
