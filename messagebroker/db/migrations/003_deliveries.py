"""Topics, subscriptions, deliveries and their attempts, inboxes, and what operators steer them with. Frozen."""

# ruff: noqa: D101

from typing import Any

import peewee as pw
from playhouse.migrate import SchemaMigrator
from playhouse.migrate import migrate as alter

from messagebroker.db.fields import AsciiField, BytesField, FixedBytesField, SameTypeForeignKey, UtcField

_MYSQL_TABLE = ["ENGINE=InnoDB", "CHARACTER SET utf8mb4", "COLLATE utf8mb4_unicode_ci"]


class Base(pw.Model):
    class Meta:
        legacy_table_names = False


class Message(Base):
    id = FixedBytesField(16, primary_key=True)

    class Meta:
        table_name = "messages"


class User(Base):
    id = pw.AutoField()

    class Meta:
        table_name = "users"


class Group(Base):
    id = pw.AutoField()

    class Meta:
        table_name = "user_groups"


class Topic(Base):
    name = AsciiField(max_length=200, primary_key=True)
    description = pw.CharField(max_length=1000, default="")
    schema = pw.TextField(null=True)
    deprecated_at = UtcField(null=True)
    must_route = pw.BooleanField(default=False)
    created_at = UtcField()

    class Meta:
        table_name = "topics"
        indexes = ((("must_route",), False),)


class Subscription(Base):
    id = pw.AutoField()
    name = pw.CharField(max_length=100)
    channel = AsciiField(max_length=20)
    topics = pw.TextField()
    filter = pw.TextField(null=True)  # type: ignore[assignment]
    owner = pw.CharField(max_length=254, null=True)
    group = pw.ForeignKeyField(Group, null=True, on_delete="SET NULL", index=False)
    client = AsciiField(max_length=63, null=True)
    config = pw.TextField()
    secrets = BytesField(null=True)
    data_key_id = FixedBytesField(16, null=True, index=True)
    schedule = pw.TextField(null=True)
    ordered_by = AsciiField(max_length=20, null=True)
    created_at = UtcField()
    changed_at = UtcField()
    disabled_at = UtcField(null=True)
    disabled_why = pw.CharField(max_length=500, null=True)
    removed_at = UtcField(null=True)
    failures = pw.IntegerField(default=0)
    failing_since = UtcField(null=True)
    warned = pw.SmallIntegerField(default=0)
    breaker = AsciiField(max_length=10, default="closed")
    breaker_at = UtcField(null=True)

    class Meta:
        table_name = "subscriptions"
        indexes = (
            (("removed_at", "id"), False),
            (("channel", "removed_at", "id"), False),
            (("owner", "removed_at", "id"), False),
            (("group", "removed_at", "id"), False),
            (("client", "id"), False),
            (("breaker", "id"), False),
        )


class Delivery(Base):
    message = SameTypeForeignKey(Message, on_delete="CASCADE", index=False)
    subscription_id = pw.IntegerField()
    priority = pw.SmallIntegerField()
    status = AsciiField(max_length=10)
    due_at = UtcField(null=True)
    attempts = pw.SmallIntegerField(default=0)
    crashes = pw.SmallIntegerField(default=0)
    holder = FixedBytesField(16, null=True)
    order_key = FixedBytesField(16, null=True)
    created_at = UtcField()
    ended_at = UtcField(null=True)
    fingerprint = AsciiField(max_length=16, null=True)
    error = pw.CharField(max_length=500, null=True)
    asked_by = pw.CharField(max_length=254, null=True)
    move_id = pw.IntegerField(null=True)

    class Meta:
        table_name = "deliveries"
        primary_key = pw.CompositeKey("message", "subscription_id")
        indexes = (
            (("status", "priority", "subscription_id", "due_at"), False),
            (("status", "subscription_id", "fingerprint", "message"), False),
            (("subscription_id", "status", "order_key", "message"), False),
        )


class DeliveryAttempt(Base):
    id = pw.BigAutoField()
    message = SameTypeForeignKey(Message, on_delete="CASCADE", index=False)
    subscription_id = pw.IntegerField()
    number = pw.SmallIntegerField()
    started_at = UtcField()
    duration_ms = pw.IntegerField()
    outcome = AsciiField(max_length=10)
    code = pw.IntegerField(null=True)
    error = pw.CharField(max_length=500, null=True)
    request = pw.TextField(null=True)
    answer = BytesField(null=True)
    asked_by = pw.CharField(max_length=254, null=True)

    class Meta:
        table_name = "delivery_attempts"
        indexes = (
            (("message", "subscription_id", "id"), False),
            (("subscription_id", "outcome", "id"), False),
        )


class InboxItem(Base):
    id = pw.BigAutoField()
    user = pw.ForeignKeyField(User, on_delete="CASCADE", index=False)
    message = SameTypeForeignKey(Message, on_delete="CASCADE", index=False)
    subscription_id = pw.IntegerField()
    created_at = UtcField()
    read_at = UtcField(null=True)

    class Meta:
        table_name = "inbox_items"
        indexes = (
            (("user", "message"), True),
            (("user", "id"), False),
            (("user", "read_at", "id"), False),
            (("message",), False),
        )


class QueueControl(Base):
    queue = AsciiField(max_length=20, primary_key=True)
    paused_at = UtcField()
    paused_by = pw.CharField(max_length=254)
    reason = pw.CharField(max_length=500, default="")

    class Meta:
        table_name = "queue_controls"


class WorkerSetting(Base):
    name = AsciiField(max_length=40, primary_key=True)
    value = pw.IntegerField()
    changed_by = pw.CharField(max_length=254)
    changed_at = UtcField()

    class Meta:
        table_name = "worker_settings"


class BreakerEvent(Base):
    id = pw.BigAutoField()
    subscription_id = pw.IntegerField()
    created_at = UtcField()
    state = AsciiField(max_length=10)
    why = pw.CharField(max_length=500)

    class Meta:
        table_name = "breaker_events"
        indexes = (
            (("subscription_id", "id"), False),
            (("created_at",), False),
        )


class SubscriptionNotice(Base):
    id = pw.BigAutoField()
    subscription_id = pw.IntegerField()
    created_at = UtcField()
    kind = AsciiField(max_length=20)
    text = pw.CharField(max_length=1000)
    mail_due_at = UtcField(null=True)

    class Meta:
        table_name = "subscription_notices"
        indexes = (
            (("mail_due_at", "id"), False),
            (("created_at",), False),
        )


class DeadLetterMove(Base):
    id = pw.AutoField()
    kind = AsciiField(max_length=10)
    selection = pw.TextField()
    reason = pw.CharField(max_length=500)
    created_by = pw.CharField(max_length=254)
    created_at = UtcField()
    rate = pw.IntegerField(null=True)
    total = pw.IntegerField()
    moved = pw.IntegerField(default=0)
    undone = pw.IntegerField(default=0)
    state = AsciiField(max_length=10)
    position = AsciiField(max_length=80, null=True)
    next_at = UtcField(null=True)
    undo_until = UtcField(null=True)

    class Meta:
        table_name = "dead_letter_moves"
        indexes = ((("state", "next_at"), False),)


class DeadLetterMoved(Base):
    move = pw.ForeignKeyField(DeadLetterMove, on_delete="CASCADE", index=False)
    message = SameTypeForeignKey(Message, on_delete="CASCADE", index=False)
    subscription_id = pw.IntegerField()
    moved_at = UtcField()
    attempts = pw.SmallIntegerField()
    ended_at = UtcField(null=True)
    undone_at = UtcField(null=True)

    class Meta:
        table_name = "dead_letters_moved"
        primary_key = pw.CompositeKey("move", "message", "subscription_id")
        indexes = ((("message", "moved_at"), False),)


class AllowedNetwork(Base):
    network = AsciiField(max_length=49, primary_key=True)
    reason = pw.CharField(max_length=500)
    added_by = pw.CharField(max_length=254)
    added_at = UtcField()

    class Meta:
        table_name = "allowed_networks"


NEW = (
    Topic,
    Subscription,
    Delivery,
    DeliveryAttempt,
    InboxItem,
    QueueControl,
    WorkerSetting,
    BreakerEvent,
    SubscriptionNotice,
    DeadLetterMove,
    DeadLetterMoved,
    AllowedNetwork,
)

COLUMNS: tuple[tuple[str, str, pw.Field], ...] = (
    ("messages", "certificate", AsciiField(max_length=40, null=True)),
    ("messages", "deliver_at", UtcField(null=True)),
    ("heartbeats", "details", pw.TextField(null=True)),
)


def migrate(migrator: Any, database: pw.Database, *, fake: bool = False) -> None:
    """Each step looks first whether it was done: MySQL commits every one of them by itself."""
    del fake
    for model in NEW:
        migrator.run(_create, database, model)
    for table, name, field in COLUMNS:
        migrator.run(_add_column, database, table, name, field)


def _create(database: pw.Database, model: type[pw.Model]) -> None:
    model._meta.table_settings = _MYSQL_TABLE if isinstance(database, pw.MySQLDatabase) else None
    with model.bind_ctx(database):
        model.create_table(safe=True)


def _add_column(database: pw.Database, table: str, name: str, field: pw.Field) -> None:
    if name not in {column.name for column in database.get_columns(table)}:
        alter(SchemaMigrator.from_database(database).add_column(table, name, field))


def rollback(migrator: Any, database: pw.Database, *, fake: bool = False) -> None:
    """Migrations go forward only; the way back is a backup."""
    raise NotImplementedError("restore the backup from before the upgrade")
