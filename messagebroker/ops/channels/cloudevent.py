"""A message as a CloudEvent 1.0 in JSON: the way back of what proxies take in (http/proxy/cloudevents.py)."""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import quote

import msgspec

from messagebroker.ops import ids
from messagebroker.ops.channels.channel import Work

CONTENT_TYPE = "application/cloudevents+json"
_encoder = msgspec.json.Encoder()
_any = msgspec.json.Decoder()
_is_name = re.compile(r"[a-z0-9]{1,64}").fullmatch
_is_json = re.compile(r"[a-z]+/([^;]+\+)?json\b", re.I).match
_OURS = frozenset({"specversion", "id", "source", "type", "time", "datacontenttype", "data"})
_INT32 = range(-(2**31), 2**31)
_IN_URIS = "!#$%&'()*+,/:;=?@[]~"


def event(work: Work) -> dict[str, Any]:
    """The event's members.

    What came as a CloudEvent leaves with the attributes that it came with. Of other messages `id` is the message's own,
    `source` the sender or the client; metadata that can be extensions are extensions, the rest is the JSON in `metadata`.
    """
    metadata = work.payload.metadata or {}
    made: dict[str, Any] = {"specversion": "1.0"}
    if _was_event(metadata):
        made |= metadata
    else:
        made |= {
            "id": ids.text(work.message_id),
            "source": quote(work.payload.sender or f"urn:messagebroker:client:{work.client}", safe=_IN_URIS),
            "type": work.topic,
            "time": work.created_at.isoformat().replace("+00:00", "Z"),
            "priority": work.priority,
            **_extensions(metadata),
        }
        if work.correlation_id is not None:
            made.setdefault("correlationid", work.correlation_id)
    return made | _data(work, is_typed=_was_event(metadata))


def encoded(work: Work) -> bytes:
    """The event as it is sent."""
    return _encoder.encode(event(work))


def _was_event(metadata: dict[str, Any]) -> bool:
    return metadata.get("specversion") == "1.0" and all(
        isinstance(metadata.get(name), str) for name in ("id", "source", "type")
    )


def _extensions(metadata: dict[str, Any]) -> dict[str, Any]:
    fit = {name: value for name, value in metadata.items() if name != "metadata" and _can_be_extension(name, value)}
    rest = {name: value for name, value in metadata.items() if name not in fit}
    return fit | ({"metadata": _encoder.encode(rest).decode()} if rest else {})


def _can_be_extension(name: str, value: Any) -> bool:
    if not _is_name(name) or name in _OURS or name == "priority":
        return False
    return isinstance(value, str | bool) or (isinstance(value, int) and value in _INT32)


def _data(work: Work, *, is_typed: bool) -> dict[str, Any]:
    """`is_typed`: without a content type the data is JSON, as CloudEvents have it; otherwise a text is a text."""
    body, content_type = work.payload.body, work.payload.content_type
    if isinstance(body, bytes):
        named = {"datacontenttype": content_type} if content_type is not None else {}
        return {**named, "data_base64": base64.b64encode(body).decode()}
    if content_type is None and not is_typed:
        return {"datacontenttype": "text/plain", "data": body}
    named = {"datacontenttype": content_type} if content_type is not None else {}
    if content_type is not None and not _is_json(content_type):
        return {**named, "data": body}
    if not body:
        return named
    try:
        _any.decode(body)
    except msgspec.DecodeError:  # in the binary mode nobody has read it yet
        return {**named, "data_base64": base64.b64encode(body.encode()).decode()}
    return {**named, "data": msgspec.Raw(body.encode())}
