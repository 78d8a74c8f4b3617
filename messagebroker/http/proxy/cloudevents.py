"""CloudEvents 1.0 over HTTP: structured, binary and batched. `type` is the topic, `source` the sender.

Every attribute but the data is kept in metadata under its own name, extensions included. Three extensions also mean
something here: `priority` (one of our four words), `deliverat` and `expirytime` (timestamps), and `traceparent`.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from typing import Annotated, Any, Literal, cast, get_args
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import UNSET, Meta, UnsetType

from messagebroker.http.problems import Problem
from messagebroker.http.proxy.drafts import AnyDraft, Draft, Priority
from messagebroker.http.proxy.faults import UNDECODABLE, invalid, lenient, parted, undecodable
from messagebroker.http.proxy.headers import is_traceparent
from messagebroker.http.proxy.native import check_count

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"

Text = Annotated[str, Meta(min_length=1, max_length=1024)]
Instant = Annotated[datetime, Meta(tz=True)]


class CloudEvent(msgspec.Struct, gc=False):
    """A CloudEvents 1.0 event in JSON; further members are extension attributes."""

    specversion: Literal["1.0"]
    id: Text
    source: Text
    type: Annotated[str, Meta(min_length=1, max_length=200)]
    subject: Text | None = None
    time: Instant | None = None
    datacontenttype: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    dataschema: Text | None = None
    data: msgspec.Raw | UnsetType = UNSET
    data_base64: str | None = None
    deliverat: Instant | None = None
    expirytime: Instant | None = None


_event = msgspec.json.Decoder(CloudEvent)
_attributes = msgspec.json.Decoder(dict[str, msgspec.Raw])
_extension = msgspec.json.Decoder(str | bool | int | None)
_events = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder()
_name = re.compile(r"[a-z0-9]{1,64}")
_json_type = re.compile(r"[a-z]+/([^;]+\+)?json\b", re.I)
_text_type = re.compile(r"text/|[a-z]+/([^;]+\+)?(json|xml)\b", re.I)
_CALLED = {
    "body": "data", "topic": "type", "sender": "source", "deliver_at": "deliverat", "expires_at": "expirytime", "metadata": "",
}  # fmt: skip
_DATA = frozenset({"data", "data_base64", "datacontenttype"})
_PRIORITIES = frozenset(get_args(Priority))
_INT32 = range(-(2**31), 2**31)


def structured(raw: bytes) -> Draft:
    """One event in the JSON format."""
    try:
        event = _event.decode(raw)
        attributes = _attributes.decode(raw)
    except UNDECODABLE as error:
        raise undecodable(raw, error) from None
    kept = {name: value for name, encoded in attributes.items() if (value := _attribute(name, encoded)) is not None}
    return _draft(event, kept, _data(event), event.datacontenttype)


def batched(raw: bytes, limit: int) -> list[AnyDraft | Problem]:
    """The events of the JSON batch format, with a problem in place of each that is wrong."""
    try:
        items = [bytes(item) for item in _events.decode(raw)]
    except UNDECODABLE as error:
        items = parted(lenient(raw))
        if not items:
            raise undecodable(raw, error) from None
    check_count(len(items), limit)
    found: list[AnyDraft | Problem] = []
    for item in items:
        try:
            found.append(structured(item))
        except Problem as problem:
            found.append(problem)
    return found


def is_binary(environ: dict[str, Any]) -> bool:
    """Whether the attributes are in headers and the body is the data alone."""
    return "HTTP_CE_SPECVERSION" in environ or "HTTP_CE_ID" in environ


def binary(environ: dict[str, Any], body: bytes, content_type: str | None) -> Draft:
    """One event in the binary mode."""
    sent = sorted((key, value) for key, value in environ.items() if key.startswith("HTTP_CE_") and value)
    attributes = {key[8:].lower(): _header_text(key, value) for key, value in sent}  # in an order that no balancer changes
    for name in attributes:
        if name in _DATA or not _name.fullmatch(name):
            raise invalid(f"ce-{name}", "no name of an attribute: lower-case letters and digits")
    try:
        event = msgspec.convert(attributes, CloudEvent)
    except msgspec.ValidationError as error:
        raise undecodable(b"", error) from None
    if content_type is not None and len(content_type) > 255:
        raise invalid("Content-Type", "longer than 255 characters")
    return _draft(event, attributes, _readable(body, content_type), content_type)


def _draft(event: CloudEvent, kept: dict[str, Any], data: str | bytes, content_type: str | None) -> Draft:
    priority = kept.get("priority")
    trace = kept.get("traceparent")
    return Draft(
        data,
        topic=event.type,
        sender=event.source,
        priority=cast(Priority, priority) if priority in _PRIORITIES else "normal",
        deliver_at=event.deliverat,
        expires_at=event.expirytime,
        metadata=kept,
        content_type=content_type,
        traceparent=trace if isinstance(trace, str) and is_traceparent(trace) else None,
        called=_CALLED,
    )


def _attribute(name: str, encoded: msgspec.Raw) -> str | bool | int | None:
    """The value of an attribute to keep; None for data and for null, which means absent."""
    if name in _DATA:
        return None
    if not _name.fullmatch(name):
        raise invalid(name, "no name of an attribute: lower-case letters and digits")
    try:
        value: str | bool | int | None = _extension.decode(encoded)
    except UNDECODABLE:
        raise invalid(name, "an attribute is a string, a boolean or an integer") from None
    if value.__class__ is int and value not in _INT32:
        raise invalid(name, "the number is out of range (32 bits)")
    return value


def _data(event: CloudEvent) -> str | bytes:
    if event.data_base64 is not None:
        if event.data is not UNSET:
            raise invalid("data_base64", "an event has data or data_base64, not both")
        try:
            return base64.b64decode(event.data_base64, validate=True)
        except (binascii.Error, ValueError):
            raise invalid("data_base64", "not base64") from None
    if isinstance(event.data, UnsetType):
        return ""
    raw = bytes(event.data)
    try:
        value = _any.decode(raw)  # also refuses lone surrogates, which a raw copy would keep
    except UNDECODABLE:
        raise invalid("data", "not valid JSON, or it holds half of a surrogate pair") from None
    if value is None:
        return ""
    if event.datacontenttype is None or _json_type.match(event.datacontenttype):
        return raw.decode()
    if not isinstance(value, str):
        raise invalid("data", f"must be a string where datacontenttype is {event.datacontenttype}")
    return value


def _readable(body: bytes, content_type: str | None) -> str | bytes:
    """Text where the type says so, bytes otherwise."""
    if content_type is None or not _text_type.match(content_type):
        return body
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise invalid("data", f"the body is not UTF-8, as {content_type} has to be here") from None
    if "\0" in text:
        raise invalid("data", "holds a NUL character")
    return text


def _header_text(key: str, value: str) -> str:
    """A header's value: percent-encoded UTF-8, as the HTTP binding has it."""
    name = key[5:].lower().replace("_", "-")
    try:
        text = unquote_to_bytes(value.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise invalid(name, "not percent-encoded UTF-8") from None
    if "\0" in text:
        raise invalid(name, "holds a NUL character")
    return text
