"""The first schema, as of version 0.1. Frozen: `db/models.py` goes on changing, this file does not."""

# ruff: noqa: D101

from typing import Any

import peewee as pw

from messagebroker.db.fields import AsciiField, BytesField, FixedBytesField, SameTypeForeignKey, UtcField

_MYSQL_TABLE = ["ENGINE=InnoDB", "CHARACTER SET utf8mb4", "COLLATE utf8mb4_unicode_ci"]


class Base(pw.Model):
    class Meta:
        legacy_table_names = False


class DataKey(Base):
    id = FixedBytesField(16, primary_key=True)
    master_key_id = FixedBytesField(8, index=True)
    sealed = pw.BlobField()
    created_at = UtcField()
    last_seen_at = UtcField(index=True)

    class Meta:
        table_name = "data_keys"


class Message(Base):
    id = FixedBytesField(16, primary_key=True)
    client_id = AsciiField(max_length=63)
    topic = AsciiField(max_length=200)
    priority = pw.SmallIntegerField()
    status = AsciiField(max_length=10)
    created_at = UtcField()
    stored_at = UtcField()
    due_at = UtcField(null=True)
    expires_at = UtcField(null=True)
    routed = pw.SmallIntegerField(default=0)
    attempts = pw.SmallIntegerField(default=0)
    size = pw.IntegerField()
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
    id = FixedBytesField(16, primary_key=True)
    message = SameTypeForeignKey(Message, on_delete="CASCADE")
    created_at = UtcField()

    class Meta:
        table_name = "message_aliases"


class IngestFailure(Base):
    id = FixedBytesField(16, primary_key=True)
    client_id = AsciiField(max_length=63)
    accepted_at = UtcField()
    failed_at = UtcField(index=True)
    error = pw.TextField()
    record = BytesField()

    class Meta:
        table_name = "ingest_failures"


class User(Base):
    id = pw.AutoField()
    email = pw.CharField(max_length=254, unique=True)
    password_hash = AsciiField(max_length=255)
    role = AsciiField(max_length=20)
    must_change_password = pw.BooleanField(default=False)
    disabled_at = UtcField(null=True)
    created_at = UtcField()
    last_login_at = UtcField(null=True)

    class Meta:
        table_name = "users"


class AuditEntry(Base):
    id = pw.BigAutoField()
    created_at = UtcField(index=True)
    actor = pw.CharField(max_length=254)
    action = AsciiField(max_length=64)
    object_type = AsciiField(max_length=32)
    object_id = pw.CharField(max_length=254)
    address = AsciiField(max_length=45, null=True)
    user_agent = pw.CharField(max_length=255, null=True)
    details = pw.TextField(null=True)

    class Meta:
        table_name = "audit_log"


class Client(Base):
    name = AsciiField(max_length=63, primary_key=True)
    owner = pw.CharField(max_length=254, null=True)
    default_topic = AsciiField(max_length=200, default="messages")
    topics = pw.TextField(null=True)
    rate = pw.IntegerField(null=True)
    max_batch = pw.IntegerField(null=True)
    created_at = UtcField()
    disabled_at = UtcField(null=True)

    class Meta:
        table_name = "clients"


class Certificate(Base):
    serial = AsciiField(max_length=40, primary_key=True)
    name = AsciiField(max_length=63, index=True)
    kind = AsciiField(max_length=10)
    not_before = UtcField()
    not_after = UtcField(index=True)
    pem = pw.TextField()
    revoked_at = UtcField(null=True)
    revoked_reason = pw.CharField(max_length=200, null=True)

    class Meta:
        table_name = "certificates"


class PolicyNumber(Base):
    id = pw.IntegerField(primary_key=True)
    number = pw.BigIntegerField()

    class Meta:
        table_name = "policy_number"


class PeriodicJob(Base):
    name = AsciiField(max_length=64, primary_key=True)
    due_at = UtcField()
    last_sent_at = UtcField(null=True)
    last_finished_at = UtcField(null=True)
    last_result = pw.TextField(null=True)

    class Meta:
        table_name = "periodic_jobs"


class Heartbeat(Base):
    instance = AsciiField(max_length=64, primary_key=True)
    role = AsciiField(max_length=20, index=True)
    host = pw.CharField(max_length=255)
    pid = pw.IntegerField()
    started_at = UtcField()
    seen_at = UtcField()
    leading_until = UtcField(null=True)

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


def migrate(migrator: Any, database: pw.Database, *, fake: bool = False) -> None:
    """Creates the tables; on MySQL in utf8mb4, whatever the database's own default is."""
    del fake
    for model in ALL:
        migrator.run(_create, database, model)


def _create(database: pw.Database, model: type[pw.Model]) -> None:
    on_mysql = isinstance(database, pw.MySQLDatabase)
    model._meta.table_settings = _MYSQL_TABLE if on_mysql else None
    with model.bind_ctx(database):
        model.create_table(safe=True)


def rollback(migrator: Any, database: pw.Database, *, fake: bool = False) -> None:
    """Drops them again, the dependent ones first."""
    del fake
    for model in reversed(ALL):
        migrator.run(_drop, database, model)


def _drop(database: pw.Database, model: type[pw.Model]) -> None:
    with model.bind_ctx(database):
        model.drop_table(safe=True)
