"""The tables. Sizes in bytes, times in UTC; `status` holds the words that operators' SQL uses."""

from __future__ import annotations

from datetime import timedelta

import peewee as pw

from messagebroker.db.connection import database
from messagebroker.db.fields import AsciiField, BytesField, FixedBytesField, SameTypeForeignKey, UtcField

PRIORITIES = ("critical", "high", "normal", "low")
"""A message's priority is the index into this tuple."""

OPEN_STATUSES = ("scheduled", "pending", "processing")
FINAL_STATUSES = ("delivered", "failed", "expired", "cancelled")
STATUSES = OPEN_STATUSES + FINAL_STATUSES
"""What a stored message can be (`queued` lives in Redis only)."""

BEAT_SECONDS = 5.0
FRESH = timedelta(seconds=3 * BEAT_SECONDS)
"""A process renews its heartbeat that often; one whose row is older than FRESH has gone."""


class Base(pw.Model):
    """Bound to the process' one database."""

    class Meta:
        database = database
        legacy_table_names = False


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
    due_at = UtcField(null=True)  # scheduled: when to go; processing: end of the lease; else NULL
    expires_at = UtcField(null=True)
    routed = pw.SmallIntegerField(default=0)  # number of matching subscriptions
    attempts = pw.SmallIntegerField(default=0)  # leases that were taken
    size = pw.IntegerField()  # of the body
    sender_hash = FixedBytesField(16, null=True)
    idempotency_key = FixedBytesField(20, null=True)
    correlation_id = pw.CharField(max_length=128, null=True)
    traceparent = AsciiField(max_length=55, null=True)
    data_key_id = FixedBytesField(16)
    payload = BytesField()

    class Meta:
        table_name = "messages"
        indexes = (
            (("client_id", "id"), False),
            (("status", "due_at"), False),
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


class User(Base):
    """A person who logs in to the portal or the API."""

    id = pw.AutoField()
    email = pw.CharField(max_length=254, unique=True)  # stored in lower case
    password_hash = AsciiField(max_length=255)
    role = AsciiField(max_length=20)
    must_change_password = pw.BooleanField(default=False)
    disabled_at = UtcField(null=True)
    created_at = UtcField()
    last_login_at = UtcField(null=True)

    class Meta:
        table_name = "users"


class AuditEntry(Base):
    """Who did what to which object. Only ever inserted."""

    id = pw.BigAutoField()
    created_at = UtcField(index=True)
    actor = pw.CharField(max_length=254)  # "user:EMAIL", "client:NAME", "component:ROLE", "cli:OS-USER"
    action = AsciiField(max_length=64)  # "message.read", "certificate.revoke", …
    object_type = AsciiField(max_length=32)
    object_id = pw.CharField(max_length=254)
    address = AsciiField(max_length=45, null=True)
    user_agent = pw.CharField(max_length=255, null=True)
    details = pw.TextField(null=True)  # JSON, without secrets

    class Meta:
        table_name = "audit_log"


class Client(Base):
    """A registered sender: what the policy tells the proxies about it."""

    name = AsciiField(max_length=63, primary_key=True)
    owner = pw.CharField(max_length=254, null=True)
    default_topic = AsciiField(max_length=200, default="messages")
    topics = pw.TextField(null=True)  # JSON list of allowed topic patterns; NULL: every topic
    rate = pw.IntegerField(null=True)  # messages a second; NULL: no limit
    max_batch = pw.IntegerField(null=True)  # items; NULL: the system's limit
    created_at = UtcField()
    disabled_at = UtcField(null=True)

    class Meta:
        table_name = "clients"


class Certificate(Base):
    """A certificate that the CA issued."""

    serial = AsciiField(max_length=40, primary_key=True)  # lower-case hex
    name = AsciiField(max_length=63, index=True)  # client's name or component's role
    kind = AsciiField(max_length=10)  # "client" or "component"
    not_before = UtcField()
    not_after = UtcField(index=True)
    pem = pw.TextField()
    revoked_at = UtcField(null=True)
    revoked_reason = pw.CharField(max_length=200, null=True)

    class Meta:
        table_name = "certificates"


class PolicyNumber(Base):
    """One row: the number of the policy snapshot that was published last."""

    id = pw.IntegerField(primary_key=True)
    number = pw.BigIntegerField()

    class Meta:
        table_name = "policy_number"


class PeriodicJob(Base):
    """When each periodic job is due; the claim on this row decides which scheduler sends it."""

    name = AsciiField(max_length=64, primary_key=True)
    due_at = UtcField()
    last_sent_at = UtcField(null=True)
    last_finished_at = UtcField(null=True)
    last_result = pw.TextField(null=True)

    class Meta:
        table_name = "periodic_jobs"


class Heartbeat(Base):
    """A running process of a role."""

    instance = AsciiField(max_length=64, primary_key=True)  # UUID of the process
    role = AsciiField(max_length=20, index=True)
    host = pw.CharField(max_length=255)
    pid = pw.IntegerField()
    started_at = UtcField()
    seen_at = UtcField()
    leading_until = UtcField(null=True)  # schedulers: the lease of the one that leads

    class Meta:
        table_name = "heartbeats"


ALL = (
    DataKey,
    Message,
    MessageAlias,
    IngestFailure,
    User,
    AuditEntry,
    Client,
    Certificate,
    PolicyNumber,
    PeriodicJob,
    Heartbeat,
)
