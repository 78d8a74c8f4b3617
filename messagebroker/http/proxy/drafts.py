"""The shapes in which messages arrive. Decoding is validation: msgspec checks them in C and describes them in OpenAPI."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from messagebroker.ops.names import E164, TOPIC

Priority = Literal["critical", "high", "normal", "low"]
Body = Annotated[str, Meta(min_length=1, description="Text; at most 256 KiB in UTF-8 unless the operator says otherwise.")]
Sender = Annotated[str, Meta(min_length=1, max_length=1024, description="Who or what this is from, in the client's own words.")]
Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339 with an offset.")]
Claimed = Annotated[str, Meta(description="May be repeated here; another client's id is refused.")]
Metadata = Annotated[
    dict[str, Any],
    Meta(description="Free data that travels sealed with the body: at most 8 KiB as JSON, 5 levels, 64-bit integers."),
]
# Patterns are described here and checked in Python: `$` would let a newline at the end pass.
Topic = Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema={"pattern": TOPIC})]
Number = Annotated[str, Meta(max_length=16, extra_json_schema={"pattern": E164})]


class NativeMessage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A message in the native format."""

    body: Body
    topic: Topic | None = None  # None: the client's default_topic
    sender: Sender | None = None
    priority: Priority = "normal"
    deliver_at: Instant | None = None
    expires_at: Instant | None = None
    metadata: Metadata | None = None
    client_id: Claimed | None = None

    content_type: ClassVar[None] = None  # only CloudEvents name one
    traceparent: ClassVar[None] = None
    called: ClassVar[dict[str, str]] = {}


class NativeBatch(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Up to 1,000 native messages; each is taken or refused by itself."""

    messages: Annotated[list[NativeMessage], Meta(min_length=1)]


class SenderMessage(msgspec.Struct, gc=False):
    """The established format. Other fields are kept in metadata; the topic is the client's default_topic."""

    sender_number: Number
    message_body: Body
    metadata: Metadata | None = None
    client_id: Claimed | None = None


class Draft(msgspec.Struct, gc=False):
    """A message of any other format, brought into one shape. Read like a NativeMessage."""

    body: str | bytes
    topic: str | None = None
    sender: str | None = None
    priority: Priority = "normal"
    deliver_at: datetime | None = None
    expires_at: datetime | None = None
    metadata: dict[str, Any] | None = None
    client_id: str | None = None
    content_type: str | None = None
    traceparent: str | None = None
    called: dict[str, str] = {}  # what its format calls our fields; problems speak of those


AnyDraft = NativeMessage | Draft
