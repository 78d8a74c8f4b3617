"""What a sender hands over: messages and CloudEvents, and the calls that carry them to a proxy."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Struct, UnsetType

from messagebroker.client.answers import BatchResult, Counts, Message, MessagePage, Submitted
from messagebroker.client.calls import JSON, Call, as_json, as_params, reader

MESSAGES = "/api/v1/messages"


class Draft(Struct, kw_only=True, omit_defaults=True):
    """A message to submit; what is left out takes the client's or the system's default."""

    body: Any
    topic: str | UnsetType = UNSET
    sender: str | UnsetType = UNSET
    priority: str | UnsetType = UNSET  # critical, high, normal or low
    deliver_at: datetime | UnsetType = UNSET
    expires_at: datetime | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


def draft(body: Any, **fields: Any) -> Draft:
    """A Draft from `fields`, of which those that are None are left out."""
    return Draft(body=body, **{name: value for name, value in fields.items() if value is not None})


class CloudEvent(Struct, kw_only=True, omit_defaults=True):
    """A CloudEvents 1.0 event; `extensions` become attributes of the event."""

    type: str
    source: str
    id: str = msgspec.field(default_factory=lambda: str(uuid.uuid4()))
    specversion: str = "1.0"
    subject: str | UnsetType = UNSET
    time: datetime | UnsetType = UNSET
    datacontenttype: str | UnsetType = UNSET
    dataschema: str | UnsetType = UNSET
    data: Any = UNSET
    extensions: dict[str, str | int | bool] = msgspec.field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The event in the structured JSON format."""
        known = {name: getattr(self, name) for name in self.__struct_fields__ if name != "extensions"}
        return {name: value for name, value in known.items() if value is not UNSET} | self.extensions


def new_key() -> str:
    """A fresh Idempotency-Key."""
    return str(uuid.uuid4())


def submit(content: bytes, content_type: str, key: str | None, wait: float | None) -> Call[Submitted]:
    """Submits one message."""
    return _submit(MESSAGES, content, content_type, key, wait, _SUBMITTED)


def submit_draft(message: Draft, key: str | None, wait: float | None) -> Call[Submitted]:
    """Submits one native message."""
    return submit(as_json(message), JSON, key, wait)


def submit_event(event: CloudEvent, key: str | None, wait: float | None) -> Call[Submitted]:
    """Submits one CloudEvent, structured."""
    return submit(as_json(event.document()), "application/cloudevents+json", key, wait)


def submit_batch(messages: Iterable[Draft], key: str | None) -> Call[BatchResult]:
    """Submits up to 1,000 native messages in one request."""
    return _submit(f"{MESSAGES}/batch", as_json({"messages": list(messages)}), JSON, key, None, _BATCH)


def submit_events(events: Iterable[CloudEvent], key: str | None) -> Call[BatchResult]:
    """Submits a CloudEvents batch."""
    content = as_json([event.document() for event in events])
    return _submit(MESSAGES, content, "application/cloudevents-batch+json", key, None, _BATCH)


def get(message_id: str) -> Call[Message]:
    """Reads one of the client's own messages, its body included."""
    return Call(method="GET", path=f"{MESSAGES}/{quote(message_id, safe='')}", read=_MESSAGE)


def list_messages(
    since: datetime | None, until: datetime | None, status: str | None, oldest_first: bool, limit: int, cursor: str | None
) -> Call[MessagePage]:
    """A part of the list of the client's own messages."""
    order = "asc" if oldest_first else "desc"
    params = as_params(since=since, until=until, status=status, order=order, limit=limit, cursor=cursor)
    return Call(method="GET", path=MESSAGES, read=_PAGE, params=params)


def counts(since: datetime | None, until: datetime | None) -> Call[Counts]:
    """The client's own messages per hour."""
    return Call(method="GET", path=f"{MESSAGES}/counts", read=_COUNTS, params=as_params(since=since, until=until))


def whoami() -> Call[dict[str, Any]]:
    """What the proxy sees of the client."""
    now = datetime.now(UTC).isoformat()  # lets the proxy say how far this clock is off
    return Call(method="GET", path="/api/v1/whoami", read=_OBJECT, headers={"x-client-time": now})


def _submit(path: str, content: bytes, content_type: str, key: str | None, wait: float | None, read: Any) -> Call[Any]:
    key = key or new_key()
    headers = {"content-type": content_type, "idempotency-key": key}
    if wait is not None:
        headers["prefer"] = f"wait={wait:g}"
    timeout = None if wait is None else wait + 30.0
    return Call(method="POST", path=path, read=read, headers=headers, content=content, timeout=timeout, idempotency_key=key)


_SUBMITTED = reader(Submitted)
_BATCH = reader(BatchResult)
_MESSAGE = reader(Message)
_PAGE = reader(MessagePage)
_COUNTS = reader(Counts)
_OBJECT = reader(dict[str, Any])
