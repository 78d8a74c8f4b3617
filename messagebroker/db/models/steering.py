"""What operators decided about queues, destinations and dead letters, and what breakers did by themselves."""

from __future__ import annotations

import peewee as pw

from messagebroker.db.fields import AsciiField, SameTypeForeignKey, UtcField
from messagebroker.db.models.base import Base
from messagebroker.db.models.messages import Message


class QueueControl(Base):
    """A queue that somebody paused. The table decides, so that an emptied Redis resumes nothing."""

    queue = AsciiField(max_length=20, primary_key=True)
    paused_at = UtcField()
    paused_by = pw.CharField(max_length=254)
    reason = pw.CharField(max_length=500, default="")

    class Meta:
        table_name = "queue_controls"


class WorkerSetting(Base):
    """A number that workers take over while they run, in place of their setting."""

    name = AsciiField(max_length=40, primary_key=True)  # "worker_threads" or "deliveries_at_once"
    value = pw.IntegerField()
    changed_by = pw.CharField(max_length=254)
    changed_at = UtcField()

    class Meta:
        table_name = "worker_settings"


class BreakerEvent(Base):
    """A circuit breaker's change of state."""

    id = pw.BigAutoField()
    subscription_id = pw.IntegerField()
    created_at = UtcField()
    state = AsciiField(max_length=10)  # "closed", "open" or "half-open"
    why = pw.CharField(max_length=500)

    class Meta:
        table_name = "breaker_events"
        indexes = (
            (("subscription_id", "id"), False),
            (("created_at",), False),
        )


class SubscriptionNotice(Base):
    """What the owner of a subscription is to be told by e-mail, once."""

    id = pw.BigAutoField()
    subscription_id = pw.IntegerField()
    created_at = UtcField()
    kind = AsciiField(max_length=20)  # "breaker.open", "failing" or "disabled"
    text = pw.CharField(max_length=1000)
    mail_due_at = UtcField(null=True)  # until the e-mail was sent

    class Meta:
        table_name = "subscription_notices"
        indexes = (
            (("mail_due_at", "id"), False),
            (("created_at",), False),
        )


class DeadLetterMove(Base):
    """Dead letters that are retried or purged together. Workers do it piece by piece; it can be undone for a while."""

    id = pw.AutoField()
    kind = AsciiField(max_length=10)  # "retry" or "purge"
    selection = pw.TextField()  # JSON: which of them
    reason = pw.CharField(max_length=500)
    created_by = pw.CharField(max_length=254)
    created_at = UtcField()
    rate = pw.IntegerField(null=True)  # retry: messages a second
    total = pw.IntegerField()  # when it was asked for
    moved = pw.IntegerField(default=0)
    undone = pw.IntegerField(default=0)  # of those that were moved
    state = AsciiField(max_length=10)  # "running", "done", "undoing", "undone", "removing" or "final"
    position = AsciiField(max_length=80, null=True)  # how far its present state has come
    next_at = UtcField(null=True)  # when a worker goes on with it
    undo_until = UtcField(null=True)  # NULL: not over yet, so that it can be undone

    class Meta:
        table_name = "dead_letter_moves"
        indexes = ((("state", "next_at"), False),)


class DeadLetterMoved(Base):
    """That a dead letter was moved: its history, and what an undo puts back."""

    move = pw.ForeignKeyField(DeadLetterMove, on_delete="CASCADE", index=False)
    message = SameTypeForeignKey(Message, on_delete="CASCADE", index=False)
    subscription_id = pw.IntegerField()
    moved_at = UtcField()
    attempts = pw.SmallIntegerField()  # of the delivery, before
    ended_at = UtcField(null=True)  # the same
    undone_at = UtcField(null=True)

    message_id: bytes
    move_id: int

    class Meta:
        table_name = "dead_letters_moved"
        primary_key = pw.CompositeKey("move", "message", "subscription_id")
        indexes = ((("message", "moved_at"), False),)


class AllowedNetwork(Base):
    """A private network that webhooks may reach all the same."""

    network = AsciiField(max_length=49, primary_key=True)  # CIDR
    reason = pw.CharField(max_length=500)
    added_by = pw.CharField(max_length=254)
    added_at = UtcField()

    class Meta:
        table_name = "allowed_networks"
