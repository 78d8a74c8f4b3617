"""What travels from a proxy to an ingest worker: sealed records in a numbered call format (MessagePack)."""

from __future__ import annotations

from typing import Any

import msgspec

CALL_FORMAT = 1
"""Raised when `Record` or the call changes shape; workers read this one and the previous one."""


class Payload(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is sealed. `body` is text, or bytes where a CloudEvent carried binary data."""

    body: Any  # str or bytes; msgspec decodes no union of the two
    sender: str | None = None
    metadata: dict[str, Any] | None = None
    content_type: str | None = None  # of the body, where a sender named one


class Record(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One accepted message, sealed. Times are microseconds since 1970 UTC."""

    id: bytes  # 16, UUIDv7
    client: str
    topic: str
    priority: int  # index into db.models.PRIORITIES
    accepted_at: int
    size: int  # bytes of the body
    data_key_id: bytes  # 16
    sealed: bytes  # nonce (12) + AES-256-GCM of a MessagePack Payload; associated data: id + client
    deliver_at: int | None = None
    expires_at: int | None = None
    sender_hash: bytes | None = None  # 16
    idempotency_key: bytes | None = None  # 20: hash of client and key (8), item number (4), hash of the content (8)
    correlation_id: str | None = None
    traceparent: str | None = None
    certificate: str | None = None  # the sender's: its serial; calls of older proxies end before it


class SealedKey(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A data key as it travels and as `data_keys` stores it."""

    id: bytes  # 16
    master_key_id: bytes  # 8
    sealed: bytes  # HPKE ciphertext of the 32 bytes
    created_at: int


class IngestCall(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The one argument of the `ingest` actors, encoded as MessagePack bytes."""

    format: int
    records: list[Record]
    keys: list[SealedKey]  # every key that the records name


class _Message(msgspec.Struct, frozen=True):
    """A call as Dramatiq sends it."""

    args: tuple[bytes]


class _Keys(msgspec.Struct, array_like=True, frozen=True):
    format: int
    records: msgspec.Raw
    keys: list[SealedKey]


_message_decoder = msgspec.msgpack.Decoder(_Message)
_keys_decoder = msgspec.msgpack.Decoder(_Keys)
_encoder = msgspec.msgpack.Encoder()
_call_decoder = msgspec.msgpack.Decoder(IngestCall)
_payload_decoder = msgspec.msgpack.Decoder(Payload)


def encode_call(records: list[Record], keys: list[SealedKey]) -> bytes:
    """The bytes that an `ingest` actor takes."""
    return _encoder.encode(IngestCall(CALL_FORMAT, records, keys))


def decode_call(data: bytes) -> IngestCall:
    """Raises msgspec.DecodeError or ValidationError for bytes that are no call."""
    return _call_decoder.decode(data)


def master_keys_of_call(message: bytes) -> set[bytes]:
    """The master keys that a call needs, as it lies in Redis. Records are not decoded.

    Raises:
        msgspec.MsgspecError: it is no call of an `ingest` actor.
    """
    (call,) = _message_decoder.decode(message).args
    return {key.master_key_id for key in _keys_decoder.decode(call).keys}


def records_of_call(message: bytes) -> list[Record]:
    """What a call carries, as it lies in Redis; raises as `master_keys_of_call`."""
    (call,) = _message_decoder.decode(message).args
    return decode_call(call).records


def encode_payload(payload: Payload) -> bytes:
    """The plain bytes that are sealed."""
    return _encoder.encode(payload)


def decode_payload(data: bytes) -> Payload:
    """The inverse of `encode_payload`."""
    return _payload_decoder.decode(data)


def encode_kept(record: Record, key: SealedKey | None) -> bytes:
    """A record and its key as a row of `ingest_failures` keeps them."""
    return encode_call([record], [key] if key else [])
