"""/api/v1/workers: the processes that store and deliver, and how much each of them does at once."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.http.decoding import answer, read_json, read_query
from messagebroker.http.main.callers import Right
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import concurrency, cursors, workers
from messagebroker.ops.concurrency import DELIVERIES, MOST, THREADS, Override
from messagebroker.ops.permissions import Permission

PATH = "/api/v1/workers"
CONCURRENCY = PATH + "/concurrency"


class WorkerQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How much, from where on."""

    limit: Limit = 50
    cursor: Cursor | None = None


class WorkerView(msgspec.Struct, kw_only=True):
    """A process. `runs` false: it was not seen lately. What it has not told is null. Rates are since its last heartbeat."""

    instance: str
    host: str
    pid: int
    version: str | None
    started_at: datetime
    seen_at: datetime
    runs: bool
    threads: int | None
    calls: int | None
    deliveries: int | None
    deliveries_at_once: int | None
    stored_per_second: float | None
    delivered_per_second: float | None


class WorkerPage(msgspec.Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[WorkerView]
    next: str | None


class ConcurrencyOrder(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """For each worker process. What is left out stays; null returns to what its settings say."""

    threads: Annotated[int, msgspec.Meta(ge=1, le=MOST[THREADS])] | msgspec.UnsetType | None = msgspec.UNSET
    deliveries: Annotated[int, msgspec.Meta(ge=1, le=MOST[DELIVERIES])] | msgspec.UnsetType | None = msgspec.UNSET


class OverrideView(msgspec.Struct, kw_only=True):
    """A number that is in force in place of the setting."""

    value: int
    changed_by: str
    changed_at: datetime


class ConcurrencyView(msgspec.Struct, kw_only=True):
    """Null: as the settings say (`WORKER_THREADS`, `DELIVERIES_AT_ONCE`)."""

    threads: OverrideView | None
    deliveries: OverrideView | None


class Workers:
    """In the order of their names; those that were killed stay for a day."""

    rights: ClassVar = {"GET": Right(permission=Permission.QUEUES_READ)}
    operations: ClassVar = (
        Operation(
            "GET", PATH, "Worker processes", responses={200: WorkerPage}, query=WorkerQuery, security=TOKEN, tag="queues",
        ),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page, as they said with their last heartbeats."""
        query = read_query(request, WorkerQuery)
        try:
            after = "" if query.cursor is None else cursors.read_name(query.cursor)
        except cursors.WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        found = workers.page(limit=query.limit + 1, after=after)
        items = [msgspec.convert(one, WorkerView, from_attributes=True) for one in found[: query.limit]]
        more = len(found) > query.limit
        answer(response, WorkerPage(items=items, next=cursors.of_name(items[-1].instance) if more else None))


class Concurrency:
    """The same as `messagebroker workers scale`."""

    rights: ClassVar = {
        "GET": Right(permission=Permission.QUEUES_READ),
        "PUT": Right(permission=Permission.QUEUES_MANAGE),
    }
    operations: ClassVar = (
        Operation(
            "GET", CONCURRENCY, "How much workers do at once", responses={200: ConcurrencyView}, security=TOKEN, tag="queues",
        ),
        Operation(
            "PUT", CONCURRENCY, "Set how much workers do at once", ConcurrencyOrder, {200: ConcurrencyView}, security=TOKEN,
            tag="queues", description="Workers take it over within seconds, without a restart; `/api/v1/workers` shows it.",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(ConcurrencyOrder)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """What is in force."""
        _answer(response, concurrency.overrides())

    def on_put(self, request: falcon.Request, response: falcon.Response) -> None:
        """What is in force then."""
        given = read_json(request, self._decoder)
        named = {THREADS: given.threads, DELIVERIES: given.deliveries}
        numbers = {name: value for name, value in named.items() if not isinstance(value, msgspec.UnsetType)}
        _answer(response, concurrency.scale(numbers, request.context.caller.actor))


def _answer(response: falcon.Response, found: dict[str, Override]) -> None:
    threads, deliveries = (
        msgspec.convert(found[name], OverrideView, from_attributes=True) if name in found else None
        for name in (THREADS, DELIVERIES)
    )
    answer(response, ConcurrencyView(threads=threads, deliveries=deliveries))
