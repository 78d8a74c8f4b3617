"""Messages and what belongs to them."""

from __future__ import annotations

import peewee as pw

from messagebroker.db.fields import AsciiField, BytesField, FixedBytesField, SameTypeForeignKey, UtcField
from messagebroker.db.models.base import Base

PRIORITIES = ("critical", "high", "normal", "low")
"""A message's priority is the index into this tuple."""

OPEN_STATUSES = ("scheduled", "pending", "processing")
FINAL_STATUSES = ("delivered", "failed", "expired", "cancelled")
STATUSES = OPEN_STATUSES + FINAL_STATUSES
"""What a stored message can be (`queued` lives in Redis only)."""


class DataKey(Base):
    """A data key, sealed to a master key; messages name it."""

    id = FixedBytesField(16, primary_key=True)
    master_key_id = FixedBytesField(8, index=True)
    sealed = pw.BlobField()  # HPKE ciphertext of 32 bytes of AES key
    created_at = UtcField()
    last_seen_at = UtcField(index=True)  # by an ingest; unreferenced keys are removed long after this

    class Meta:
        table_name = "data_keys"


class Message(Base):
    """One message. `payload` (body, sender, metadata) is sealed; the rest is plain."""

    id = FixedBytesField(16, primary_key=True)  # UUIDv7, drawn by the proxy
    client_id = AsciiField(max_length=63)
    topic = AsciiField(max_length=200)
    priority = pw.SmallIntegerField()  # index into PRIORITIES
    status = AsciiField(max_length=10)
    created_at = UtcField()  # accepted by the proxy: the id's own time
    stored_at = UtcField()
    due_at = UtcField(null=True)  # scheduled: when to go; open: when it expires; else NULL
    expires_at = UtcField(null=True)
    deliver_at = UtcField(null=True)  # as the sender asked: `due_at` forgets it when the message begins
    routed = pw.SmallIntegerField(default=0)  # number of matching subscriptions
    attempts = pw.SmallIntegerField(default=0)  # of all its deliveries
    size = pw.IntegerField()  # of the body
    sender_hash = FixedBytesField(16, null=True)
    idempotency_key = FixedBytesField(20, null=True)
    correlation_id = pw.CharField(max_length=128, null=True)
    traceparent = AsciiField(max_length=55, null=True)
    certificate = AsciiField(max_length=40, null=True)  # the sender's: its serial
    data_key_id = FixedBytesField(16)
    payload = BytesField()

    class Meta:
        table_name = "messages"
        indexes = (
            (("client_id", "id"), False),
            (("client_id", "status", "id"), False),
            (("status", "due_at"), False),
            (("topic", "status", "id"), False),
            (("correlation_id", "id"), False),
            (("sender_hash", "id"), False),
            (("idempotency_key",), True),
        )


class MessageAlias(Base):
    """A later copy of a message under an idempotency key that Redis had forgotten: its id answers for the first."""

    id = FixedBytesField(16, primary_key=True)
    message = SameTypeForeignKey(Message, on_delete="CASCADE")
    created_at = UtcField()

    class Meta:
        table_name = "message_aliases"


class IngestFailure(Base):
    """A record that the database refused, or that killed its worker: sealed, readable, retryable."""

    id = FixedBytesField(16, primary_key=True)  # the message's id
    client_id = AsciiField(max_length=63)
    accepted_at = UtcField()
    failed_at = UtcField(index=True)
    error = pw.TextField()
    record = BytesField()  # MessagePack of the record and its sealed data key

    class Meta:
        table_name = "ingest_failures"
        indexes = ((("failed_at", "id"), False),)
