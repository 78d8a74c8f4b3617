"""POST /api/v1/messages and /api/v1/messages/batch: reads every format."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import falcon
import msgspec
from msgspec import Meta

from messagebroker.http.openapi import Operation
from messagebroker.http.problems import Problem
from messagebroker.http.proxy import cloudevents, headers, native
from messagebroker.http.proxy.answers import Accepted, AcceptedBatch
from messagebroker.http.proxy.drafts import Draft, NativeBatch, NativeMessage, SenderMessage
from messagebroker.http.proxy.lookup import Lookup
from messagebroker.http.proxy.reception import Answer, Reception, Request
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


class _Submit:
    """What both paths share."""

    def __init__(self, reception: Reception, *, max_items: int) -> None:
        self._reception = reception
        self._max_items = max_items

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Refusals name the field; a 202 goes out only after Redis has acknowledged."""
        try:
            client = self._reception.client_of(request.context.peer)
            environ = request.env
            raw = request.bounded_stream.read()
            answer = self._reception.receive(self._read(environ, raw, client), client)
        except Problem as problem:
            REFUSED.labels(problem.name).inc()
            raise
        self._respond(response, answer, environ, client)

    def _read(self, environ: dict[str, Any], raw: bytes, client: ClientPolicy) -> Request:
        raise NotImplementedError

    def _respond(self, response: falcon.Response, answer: Answer, environ: dict[str, Any], client: ClientPolicy) -> None:
        response.status = falcon.HTTP_207 if answer.is_partial else falcon.HTTP_202
        response.content_type = "application/json"
        response.set_header("Cache-Control", "no-store")
        response.data = answer.body
        if answer.headers:
            response.set_headers(answer.headers)

    def _batch_limit(self, client: ClientPolicy) -> int:
        return min(client.max_batch or self._max_items, self._max_items)


class SubmitMessage(_Submit):
    """One message in any format, or a CloudEvents batch.

    Args:
        reception: takes the messages.
        lookup: asks main for `Prefer: wait`.
        max_items: in a batch, unless the client's policy says less.
    """

    operations: ClassVar = (
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

    def __init__(self, reception: Reception, lookup: Lookup, *, max_items: int) -> None:
        super().__init__(reception, max_items=max_items)
        self._lookup = lookup

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

    def _respond(self, response: falcon.Response, answer: Answer, environ: dict[str, Any], client: ClientPolicy) -> None:
        super()._respond(response, answer, environ, client)
        accepted = answer.accepted
        if accepted is None:
            return
        response.set_header("Location", f"{SINGLE}/{accepted.message_id}")
        if "HTTP_PREFER" not in environ:
            return
        status = self._lookup.wait(accepted.message_id, client.name, headers.wait_seconds(environ))
        if status is not None:
            accepted.status = status
            response.data = _encode(accepted)
            response.status = falcon.HTTP_201
            response.set_header("Preference-Applied", "wait")


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
