"""The native formats, single and batch, and the established sender_number format, which shares their path."""

from __future__ import annotations

from typing import Any

import msgspec

from messagebroker.http.problems import Problem
from messagebroker.http.proxy.drafts import AnyDraft, Draft, NativeBatch, NativeMessage, SenderMessage
from messagebroker.http.proxy.faults import UNDECODABLE, invalid, lenient, parted, undecodable
from messagebroker.ops.names import is_e164

_single = msgspec.json.Decoder(NativeMessage)
_batch = msgspec.json.Decoder(NativeBatch)
_sender = msgspec.json.Decoder(SenderMessage)
_fields = msgspec.json.Decoder(dict[str, Any])
_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ESTABLISHED = frozenset(SenderMessage.__struct_fields__)
_CALLED = {"body": "message_body", "sender": "sender_number"}
_MARKS = ("sender_number", "message_body")


class RawBatch(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A batch whose items are looked at one by one, because one of them is wrong."""

    messages: list[msgspec.Raw]


_raw_batch = msgspec.json.Decoder(RawBatch)


def single(raw: bytes) -> AnyDraft:
    """One message, native or established.

    Raises:
        Problem: naming the field.
    """
    if b'"message_body"' in raw and _is_established(raw):
        return established(raw)
    try:
        return _single.decode(raw)
    except UNDECODABLE as error:
        if _is_established(raw):
            return established(raw)
        raise undecodable(raw, error) from None


def batch(raw: bytes, limit: int) -> list[AnyDraft | Problem]:
    """The messages of a native batch, with a problem in place of each that is wrong.

    Raises:
        Problem: the batch as a whole cannot be read, is empty or has over `limit` items.
    """
    try:
        found: list[Any] = _batch.decode(raw).messages
    except UNDECODABLE:
        return _one_by_one(raw, limit)
    check_count(len(found), limit)
    return found


def established(raw: bytes) -> Draft:
    """A message of the sender_number format; fields that it does not know become metadata."""
    try:
        message = _sender.decode(raw)
        fields = _fields.decode(raw)
    except UNDECODABLE as error:
        raise undecodable(raw, error) from None
    if not is_e164(message.sender_number):
        raise invalid("sender_number", "not an E.164 number such as +4915112345678")
    metadata = message.metadata
    if len(fields) > len(_ESTABLISHED & fields.keys()):
        metadata = dict(metadata or ())
        for name, value in fields.items():
            if name not in _ESTABLISHED:
                metadata[_free_name(name, metadata)] = value
    return Draft(
        message.message_body,
        sender=message.sender_number,
        metadata=metadata,
        client_id=message.client_id,
        called=_CALLED,
    )


def check_count(count: int, limit: int) -> None:
    """Refuses batches without items and with too many."""
    if count == 0:
        raise invalid("messages", "the batch has no items")
    if count > limit:
        raise Problem(413, "batch-too-large", f"{count} items; this client may send {limit} in one batch", field="messages")


def _free_name(name: str, metadata: dict[str, Any]) -> str:
    """Nothing of an existing sender's message is lost when it has a field both outside and inside metadata."""
    while name in metadata:
        name = "_" + name
    return name


def _is_established(raw: bytes) -> bool:
    fields: Any
    try:
        fields = _raw_fields.decode(raw)
    except UNDECODABLE:
        fields = lenient(raw)
    return isinstance(fields, dict) and any(name in fields for name in _MARKS)


def _one_by_one(raw: bytes, limit: int) -> list[AnyDraft | Problem]:
    try:
        items = [bytes(item) for item in _raw_batch.decode(raw).messages]
    except UNDECODABLE as error:
        items = parted(lenient(raw, "messages"))
        if not items:
            raise undecodable(raw, error) from None
    check_count(len(items), limit)
    return [_item(item) for item in items]


def _item(raw: bytes) -> AnyDraft | Problem:
    try:
        return _single.decode(raw)
    except UNDECODABLE as error:
        return undecodable(raw, error)
