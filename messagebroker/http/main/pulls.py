"""POST /api/v1/pull/{subscription_id}: a client takes messages of its subscription, and says what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Protocol

import falcon
import msgspec
from msgspec import Meta

from messagebroker.errors import Conflict, NotFound
from messagebroker.http.decoding import answer, read_json
from messagebroker.http.later import DEFER, Deferred, Reply
from messagebroker.http.main.callers import FOR_CLIENTS, Right
from messagebroker.http.main.waiting import Waiter, Waiting
from messagebroker.http.openapi import CERTIFICATE, Operation
from messagebroker.http.problems import Problem
from messagebroker.http.replies import give
from messagebroker.ops import pull_leases, pulls
from messagebroker.ops.deliveries.opening import Payloads
from messagebroker.ops.identity import Peer
from messagebroker.ops.pulls import Source, Taken

PULL = f"{FOR_CLIENTS}{{subscription_id}}"
MOST = 100
"""Messages of one pull, leases of one request."""

_MAX_NUMBER = 2**31 - 1
Number = Annotated[int, Meta(ge=1, le=_MAX_NUMBER)]
LeaseSeconds = Annotated[int, Meta(ge=5, le=3600)]
LeaseIds = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(min_length=1, max_length=MOST)]
_RETRY_AFTER = {200: {"Retry-After": "Seconds, where too many pulls wait already: this one did not."}}
_encode = msgspec.json.Encoder().encode


class Judge(Protocol):
    """What is asked of `Access`."""

    def judge(self, environ: dict[str, Any], peer: Peer) -> None:
        """Raises the Problem with a peer that may not speak now."""


class PullRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`wait_seconds`: how long to wait for a first message."""

    max: Annotated[int, Meta(ge=1, le=MOST)] = 10
    wait_seconds: Annotated[float, Meta(ge=0, le=30)] = 0
    lease_seconds: LeaseSeconds = 60


class PullAnswer(msgspec.Struct, kw_only=True):
    """The most urgent first; empty when there is nothing."""

    items: list[Taken]


class Leases(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Of messages that are done."""

    lease_ids: LeaseIds


class Extension(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The leases end so many seconds from now."""

    lease_ids: LeaseIds
    lease_seconds: LeaseSeconds = 60


class Return(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The messages come again after the delay."""

    lease_ids: LeaseIds
    delay_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 0


class LeaseResult(msgspec.Struct, kw_only=True, omit_defaults=True):
    """`lost`: the lease ended before, or is not this client's."""

    lease_id: str
    result: Literal["done", "lost"]
    lease_until: datetime | None = None


class LeaseResults(msgspec.Struct, kw_only=True):
    """In the order in which they were named."""

    items: list[LeaseResult]


class Pull:
    """Takes. Who waits holds no thread; the server's threads are for those who get something.

    Args:
        payloads: opens messages.
        waiting: where pulls wait.
        judge: looks once more at who waited, before it is given anything.
    """

    rights: ClassVar = {"POST": Right(client=True)}
    operations: ClassVar = (
        Operation(
            "POST", PULL, "Take messages of a subscription", request=PullRequest, tag="pull", security=CERTIFICATE,
            responses={200: PullAnswer, 404: None, 409: None, 429: None}, path_types={"subscription_id": Number},
            response_headers=_RETRY_AFTER,
            description="For the client that the subscription names. Each message is its own until `lease_until`; what is not "
            "acknowledged by then comes again. 409 while the subscription is disabled.",
        ),
    )  # fmt: skip

    def __init__(self, payloads: Payloads, waiting: Waiting, judge: Judge) -> None:
        self._payloads = payloads
        self._waiting = waiting
        self._judge = judge
        self._decoder = msgspec.json.Decoder(PullRequest)

    def on_post(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """At once when there is something, or nobody may wait; behind those who wait already."""
        wanted = read_json(request, self._decoder)
        number, client = number_of(subscription_id), request.context.caller.client
        is_last = wanted.wait_seconds > 0 and self._waiting.number(number) > 0
        if is_last:
            pulls.find(number, client)  # others do not even wait
        reply = None if is_last else self._tried(number, client, wanted)
        if reply is None and wanted.wait_seconds > 0:
            reply = self._waited(request, number, client, wanted)
        give(_reply([]) if reply is None else reply, response)

    def _tried(self, number: int, client: str, wanted: PullRequest) -> Reply | None:
        taken = pulls.take(self._payloads, number, client, limit=wanted.max, lease_seconds=wanted.lease_seconds)
        return _reply(taken) if taken else None

    def _waited(self, request: falcon.Request, number: int, client: str, wanted: PullRequest) -> Reply:
        """The answer without waiting, where there is no room.

        Raises:
            Deferred: it waits.
        """
        environ, peer = request.env, request.context.peer

        def work() -> Reply | None:
            try:
                self._judge.judge(environ, peer)
                return self._tried(number, client, wanted)
            except (NotFound, Conflict) as error:
                raise Problem(404 if isinstance(error, NotFound) else 409, "subscription-ended", str(error)) from None

        if DEFER in environ:
            later, until = environ[DEFER](), time.monotonic() + wanted.wait_seconds
            waiter = Waiter(
                subscription_id=number, client=client, until=until, request=request, later=later, work=work, empty=_reply([])
            )
            if self._waiting.enter(waiter):
                raise Deferred
        return _reply([], ("Retry-After", "1"))


_SETTLED: dict[int, Any] = {200: LeaseResults, 404: None, 429: None}


class _Settling:
    """What the three requests about leases share."""

    rights: ClassVar = {"POST": Right(client=True)}

    def _settle(
        self, request: falcon.Request, response: falcon.Response, subscription_id: str, lease_ids: list[str],
        settle: Callable[[Source], tuple[list[pull_leases.State], datetime | None]],
    ) -> None:  # fmt: skip
        source = pulls.find(number_of(subscription_id), request.context.caller.client)
        states, until = settle(source)
        results = [
            LeaseResult(lease_id=lease, result=state, lease_until=until if state == "done" else None)
            for lease, state in zip(lease_ids, states, strict=True)
        ]
        answer(response, LeaseResults(items=results))


class Acknowledge(_Settling):
    """The messages are delivered."""

    operations: ClassVar = (
        Operation(
            "POST", f"{PULL}/acknowledge", "Acknowledge messages", request=Leases, responses=_SETTLED,
            path_types={"subscription_id": Number}, security=CERTIFICATE, tag="pull",
            description="Saying it twice is no harm: the second answer is the first one's.",
        ),
    )  # fmt: skip
    _decoder = msgspec.json.Decoder(Leases)

    def on_post(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """A result for each lease."""
        given = read_json(request, self._decoder)
        named = given.lease_ids
        self._settle(request, response, subscription_id, named, lambda source: (pull_leases.acknowledge(source, named), None))


class Extend(_Settling):
    """The client needs more time."""

    operations: ClassVar = (
        Operation(
            "POST", f"{PULL}/extend", "Extend leases", request=Extension, responses=_SETTLED,
            path_types={"subscription_id": Number}, security=CERTIFICATE, tag="pull",
        ),
    )  # fmt: skip
    _decoder = msgspec.json.Decoder(Extension)

    def on_post(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """A result for each lease, and when it ends."""
        given = read_json(request, self._decoder)

        def settle(source: Source) -> tuple[list[pull_leases.State], datetime | None]:
            return pull_leases.extend(source, given.lease_ids, lease_seconds=given.lease_seconds)

        self._settle(request, response, subscription_id, given.lease_ids, settle)


class GiveBack(_Settling):
    """The client cannot do it now."""

    operations: ClassVar = (
        Operation(
            "POST", f"{PULL}/return", "Return messages", request=Return, responses=_SETTLED,
            path_types={"subscription_id": Number}, security=CERTIFICATE, tag="pull",
            description="They come again after `delay_seconds`; after the subscription's `max_attempts` they are dead letters.",
        ),
    )  # fmt: skip
    _decoder = msgspec.json.Decoder(Return)

    def on_post(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """A result for each lease."""
        given = read_json(request, self._decoder)

        def settle(source: Source) -> tuple[list[pull_leases.State], datetime | None]:
            return pull_leases.give_back(source, given.lease_ids, delay_seconds=given.delay_seconds), None

        self._settle(request, response, subscription_id, given.lease_ids, settle)


def number_of(text: str) -> int:
    """The number in a path; a 404 problem for what is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= _MAX_NUMBER):
        raise Problem(404, "not-found", "a subscription is named by its number")
    return int(text)


def _reply(taken: list[Taken], *headers: tuple[str, str]) -> Reply:
    told = [("Content-Type", "application/json"), ("Cache-Control", "no-store"), *headers]
    return falcon.HTTP_200, told, _encode(PullAnswer(items=taken))
