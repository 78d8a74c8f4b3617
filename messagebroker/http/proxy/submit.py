"""POST /api/v1/messages and /api/v1/messages/batch: reads every format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar

import falcon
import msgspec
from msgspec import Meta

from messagebroker.http.later import DEFER, Deferred, Later, Reply
from messagebroker.http.openapi import Operation
from messagebroker.http.problems import Problem
from messagebroker.http.proxy import cloudevents, headers, native
from messagebroker.http.proxy.answers import Accepted, AcceptedBatch
from messagebroker.http.proxy.drafts import Draft, NativeBatch, NativeMessage, SenderMessage
from messagebroker.http.proxy.lookup import Lookup
from messagebroker.http.proxy.patience import Patience
from messagebroker.http.proxy.reception import Answer, Pending, Reception, Request
from messagebroker.http.replies import give, measured, of_error
from messagebroker.ops.metrics import REFUSED
from messagebroker.ops.snapshot import ClientPolicy

SINGLE = "/api/v1/messages"
BATCH = "/api/v1/messages/batch"
_JSON = ("application/json", "")
_encode = msgspec.json.Encoder().encode


Key = Annotated[
    str,
    Meta(
        description="The same key and body get the first answer again, for a day; another body a 422.",
        extra_json_schema={"pattern": "^[!-~]{1,255}$"},
    ),
]
Prefer = Annotated[str, Meta(description="`wait=5` answers 201 once the message is stored, if that is within so many seconds.")]
Correlation = Annotated[
    str, Meta(description="Kept beside the message, readable.", extra_json_schema={"pattern": "^[ -~]{1,128}$"})
]
_NAMES = {
    "idempotency_key": "Idempotency-Key",
    "prefer": "Prefer",
    "correlation_id": "X-Correlation-Id",
    "traceparent": "traceparent",
}


class SubmitHeaders(msgspec.Struct, rename=_NAMES):
    """What a submit may say beside its body."""

    idempotency_key: Key | None = None
    prefer: Prefer | None = None
    correlation_id: Correlation | None = None
    traceparent: str | None = None


class _Submit(ABC):
    """What both paths share."""

    def __init__(self, reception: Reception, *, max_items: int) -> None:
        self._reception = reception
        self._max_items = max_items

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Refusals name the field; a 202 goes out only after Redis has acknowledged."""
        environ = request.env
        try:
            if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
                raise Problem(415, "unsupported-media-type", "send the body as it is, not compressed", field="Content-Encoding")
            peer = request.context.peer
            client = self._reception.client_of(peer)
            raw = request.bounded_stream.read()
            found = self._reception.receive(self._read(environ, raw, client), client, peer)
        except Problem as problem:
            REFUSED.labels(problem.name).inc()
            raise
        if isinstance(found, Pending):
            self._commit(found, request)
        else:
            give(self._reply(found), response)

    def _commit(self, pending: Pending, request: falcon.Request) -> None:
        """Has it committed, and answered when the outcome is there."""
        later: Later = request.env[DEFER]()

        def tell() -> None:
            later.answer(measured(self._concluded(pending, request), request))

        self._reception.committer.begin(pending.submission, tell)
        raise Deferred

    def _concluded(self, pending: Pending, request: falcon.Request) -> Reply:
        """The reply to a submission whose outcome is there."""
        try:
            return self._reply(self._reception.concluded(pending))
        except Problem as problem:
            REFUSED.labels(problem.name).inc()
            return of_error(problem, request)
        except Exception as error:  # noqa: BLE001 logged there
            return of_error(error, request)

    def _reply(self, answer: Answer) -> Reply:
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        if answer.accepted is not None:
            headers.append(("Location", f"{SINGLE}/{answer.accepted.message_id}"))
        if answer.headers:
            headers += answer.headers.items()
        return (falcon.HTTP_207 if answer.is_partial else falcon.HTTP_202), headers, answer.body

    @abstractmethod
    def _read(self, environ: dict[str, Any], raw: bytes, client: ClientPolicy) -> Request:
        """The messages in the body."""

    def _batch_limit(self, client: ClientPolicy) -> int:
        return min(client.max_batch or self._max_items, self._max_items)


class SubmitMessage(_Submit):
    """One message in any format, or a CloudEvents batch.

    Args:
        reception: takes the messages.
        lookup: asks main for `Prefer: wait`.
        patience: where requests wait.
        max_items: in a batch, unless the client's policy says less.
    """

    operations: ClassVar[tuple[Operation, ...]] = (
        Operation(
            "POST",
            SINGLE,
            "Submit a message",
            request={
                "application/json": (NativeMessage, SenderMessage),
                cloudevents.STRUCTURED: cloudevents.CloudEvent,
                cloudevents.BATCHED: list[cloudevents.CloudEvent],
            },
            responses={201: Accepted, 202: (Accepted, AcceptedBatch), 207: AcceptedBatch, 409: None, 429: None},
            headers=SubmitHeaders,
            tag="messages",
        ),
    )

    def __init__(self, reception: Reception, lookup: Lookup, patience: Patience, *, max_items: int) -> None:
        super().__init__(reception, max_items=max_items)
        self._lookup = lookup
        self._patience = patience

    def _read(self, environ: dict[str, Any], raw: bytes, client: ClientPolicy) -> Request:
        content_type = environ.get("CONTENT_TYPE") or ""
        if cloudevents.is_binary(environ):
            event = cloudevents.binary(environ, raw, content_type or None)
            return Request(environ, raw, [event], "cloudevents", False, _essence(environ, content_type))
        media = content_type if content_type == "application/json" else headers.media_type(content_type)
        if media in _JSON:
            message = native.single(raw)
            return Request(environ, raw, [message], "established" if isinstance(message, Draft) else "native", False)
        if media == cloudevents.STRUCTURED:
            return Request(environ, raw, [cloudevents.structured(raw)], "cloudevents", False, b"event")
        if media == cloudevents.BATCHED:
            events = cloudevents.batched(raw, self._batch_limit(client))
            return Request(environ, raw, events, "cloudevents", True, b"events")
        detail = f"send application/json, {cloudevents.STRUCTURED}, {cloudevents.BATCHED}, or ce- headers with any type"
        raise Problem(415, "unsupported-media-type", detail, field="Content-Type")

    def _commit(self, pending: Pending, request: falcon.Request) -> None:
        seconds = headers.wait_seconds(request.env)
        if pending.answer.accepted is None or seconds <= 0:
            super()._commit(pending, request)
        later: Later = request.env[DEFER]()

        def tell() -> None:
            if not self._patience.run(lambda: self._stored(pending, request, seconds), request, later):
                later.answer(measured(self._concluded(pending, request), request))

        self._reception.committer.begin(pending.submission, tell)
        raise Deferred

    def _stored(self, pending: Pending, request: falcon.Request, seconds: float) -> Reply:
        """For `Prefer: wait`: 201 when the message is stored in time."""
        reply = self._concluded(pending, request)
        accepted = pending.answer.accepted
        if not pending.submission.taken or accepted is None:
            return reply
        status = self._lookup.wait(accepted.message_id, accepted.client_id, seconds)
        if status is None:
            return reply
        accepted.status = status
        return falcon.HTTP_201, [*reply[1], ("Preference-Applied", "wait")], _encode(accepted)


class SubmitBatch(_Submit):
    """Up to 1,000 native messages."""

    operations: ClassVar = (
        Operation(
            "POST",
            BATCH,
            "Submit a batch of messages; each is taken or refused by itself",
            request=NativeBatch,
            responses={202: AcceptedBatch, 207: AcceptedBatch, 409: None, 429: None},
            headers=SubmitHeaders,
            tag="messages",
        ),
    )

    def _read(self, environ: dict[str, Any], raw: bytes, client: ClientPolicy) -> Request:
        if headers.media_type(environ.get("CONTENT_TYPE")) not in _JSON:
            raise Problem(415, "unsupported-media-type", "a batch is application/json", field="Content-Type")
        return Request(environ, raw, native.batch(raw, self._batch_limit(client)), "native", True, b"batch")


def _essence(environ: dict[str, Any], content_type: str) -> bytes:
    """Of an event whose attributes are in headers."""
    attributes = sorted((key, str(value)) for key, value in environ.items() if key.startswith("HTTP_CE_"))
    return _encode([content_type, attributes])
