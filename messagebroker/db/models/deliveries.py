"""Topics, who subscribed to them, and what became of each message for each subscription."""

from __future__ import annotations

import peewee as pw

from messagebroker.db.fields import AsciiField, BytesField, FixedBytesField, SameTypeForeignKey, UtcField
from messagebroker.db.models.base import Base
from messagebroker.db.models.messages import Message
from messagebroker.db.models.people import Group, User

OPEN_DELIVERIES = ("pending", "processing")
DELIVERY_STATUSES = (*OPEN_DELIVERIES, "delivered", "failed", "expired", "cancelled")
"""What a delivery can be. `failed` ones are the dead letters."""


class Topic(Base):
    """An entry of the catalogue. Messages may be on topics that it does not name."""

    name = AsciiField(max_length=200, primary_key=True)
    description = pw.CharField(max_length=1000, default="")
    schema = pw.TextField(null=True)  # JSON Schema that bodies are checked against
    deprecated_at = UtcField(null=True)
    must_route = pw.BooleanField(default=False)  # a message that nobody subscribed to is a failed one
    created_at = UtcField()

    class Meta:
        table_name = "topics"
        indexes = ((("must_route",), False),)


class Subscription(Base):
    """Who gets which messages, by which channel. A removed one stays as long as there are deliveries that name it."""

    id = pw.AutoField()
    name = pw.CharField(max_length=100)
    channel = AsciiField(max_length=20)
    topics = pw.TextField()  # JSON list of patterns
    filter = pw.TextField(null=True)  # type: ignore[assignment]  # JSON: priorities, metadata
    owner = pw.CharField(max_length=254, null=True)  # a user's address
    group = pw.ForeignKeyField(Group, null=True, on_delete="SET NULL", index=False)  # whose members see it
    client = AsciiField(max_length=63, null=True)  # pull: who takes
    config = pw.TextField()  # JSON, in the channel's own shape, without secrets
    secrets = BytesField(null=True)  # JSON in the channel's own shape, sealed with the data key
    data_key_id = FixedBytesField(16, null=True, index=True)
    schedule = pw.TextField(null=True)  # JSON list of seconds between attempts; NULL: the default
    ordered_by = AsciiField(max_length=20, null=True)  # pull: what has to come in order
    created_at = UtcField()
    changed_at = UtcField()
    disabled_at = UtcField(null=True)
    disabled_why = pw.CharField(max_length=500, null=True)
    removed_at = UtcField(null=True)
    failures = pw.IntegerField(default=0)  # attempts in a row that failed
    failing_since = UtcField(null=True)
    warned = pw.SmallIntegerField(default=0)  # percent of the failures that disable it, told last
    breaker = AsciiField(max_length=10, default="closed")  # "closed", "open" or "half-open", as the last event says
    breaker_at = UtcField(null=True)  # of that event

    group_id: int | None  # peewee makes it

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
    """One message for one subscription."""

    message = SameTypeForeignKey(Message, on_delete="CASCADE", index=False)
    subscription_id = pw.IntegerField()
    priority = pw.SmallIntegerField()  # of the message
    status = AsciiField(max_length=10)
    due_at = UtcField(null=True)  # pending: the next attempt; processing: end of the lease; else NULL
    attempts = pw.SmallIntegerField(default=0)  # that came to an end
    crashes = pw.SmallIntegerField(default=0)  # leases that ended with their worker
    holder = FixedBytesField(
        16, null=True
    )  # the worker process, or the token of a pull's leases: kept, for those who ask twice
    order_key = FixedBytesField(16, null=True)  # what has to be in order has the same key
    created_at = UtcField()
    ended_at = UtcField(null=True)
    fingerprint = AsciiField(max_length=16, null=True)  # of the last error: the same for the same kind of failure
    error = pw.CharField(max_length=500, null=True)
    asked_by = pw.CharField(max_length=254, null=True)  # who resent, reset or purged it; the next attempt's row takes it over
    move_id = pw.IntegerField(null=True)  # of a dead letter that was retried or purged, until it is tried again

    message_id: bytes  # peewee makes it

    class Meta:
        table_name = "deliveries"
        primary_key = pw.CompositeKey("message", "subscription_id")
        indexes = (
            (("status", "priority", "subscription_id", "due_at"), False),  # what is due, one group after another
            (("status", "subscription_id", "fingerprint", "message"), False),  # dead letters, grouped
            (("subscription_id", "status", "order_key", "message"), False),  # what is open of a key
        )


class DeliveryAttempt(Base):
    """One try to deliver. `answer` is sealed with the message's own data key: receivers may echo what they got."""

    id = pw.BigAutoField()
    message = SameTypeForeignKey(Message, on_delete="CASCADE", index=False)
    subscription_id = pw.IntegerField()
    number = pw.SmallIntegerField()  # 1, 2, 3, …
    started_at = UtcField()
    duration_ms = pw.IntegerField()
    outcome = AsciiField(max_length=10)  # "delivered", "retry", "failed" or "gone"
    code = pw.IntegerField(null=True)  # of HTTP or SMTP
    error = pw.CharField(max_length=500, null=True)
    request = pw.TextField(null=True)  # JSON: the headers that were sent, secrets masked
    answer = BytesField(null=True)  # its first 4 KiB
    asked_by = pw.CharField(max_length=254, null=True)  # who resent or reset it; NULL: the schedule

    message_id: bytes

    class Meta:
        table_name = "delivery_attempts"
        indexes = (
            (("message", "subscription_id", "id"), False),
            (("subscription_id", "outcome", "id"), False),
        )


class InboxItem(Base):
    """A message in a person's inbox."""

    id = pw.BigAutoField()
    user = pw.ForeignKeyField(User, on_delete="CASCADE", index=False)
    message = SameTypeForeignKey(Message, on_delete="CASCADE", index=False)
    subscription_id = pw.IntegerField()
    created_at = UtcField()
    read_at = UtcField(null=True)

    message_id: bytes
    user_id: int

    class Meta:
        table_name = "inbox_items"
        indexes = (
            (("user", "message"), True),
            (("user", "id"), False),
            (("user", "read_at", "id"), False),
            (("message",), False),
        )
