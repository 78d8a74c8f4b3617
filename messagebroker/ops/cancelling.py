"""Taking back a message that is scheduled and has not begun."""

from __future__ import annotations

from messagebroker.db.connection import connected
from messagebroker.db.models import Delivery, Message
from messagebroker.db.writing import time_now, writing
from messagebroker.errors import Conflict
from messagebroker.ops import audit, ids
from messagebroker.ops.audit import Actor
from messagebroker.ops.due import lock_messages
from messagebroker.ops.messages import PLAIN, MessageView, find, row_of
from messagebroker.ops.metrics import STATUS_CHANGES

CANCELLED = "the message was cancelled"
"""Error of its deliveries, none of which is ever made."""


class NotScheduled(Conflict):
    """The message has begun, or has ended."""


def cancel(message_id: bytes, actor: Actor) -> MessageView:
    """The message, cancelled. Of this and a worker's claim one wins: both change the row only while it is scheduled.

    Raises:
        NotFound: no such message is stored.
        NotScheduled: it is not scheduled, or not any more.
    """
    with connected():
        known = row_of(message_id, PLAIN)
        own = bytes(known.id)
        with writing():
            lock_messages([own])
            scheduled = (Message.id == own) & (Message.status == "scheduled")
            if not Message.update(status="cancelled", due_at=None).where(scheduled).execute():
                raise NotScheduled(f"message {ids.text(own)} is {row_of(own, PLAIN).status}; only scheduled ones are cancelled")
            waiting = (Delivery.message == own) & (Delivery.status == "pending")
            fields = {"status": "cancelled", "due_at": None, "ended_at": time_now(), "error": CANCELLED}
            Delivery.update(**fields).where(waiting).execute()
            before = {"status": "scheduled", "due_at": known.due_at}
            details = {"client": known.client_id, "before": before, "after": {"status": "cancelled"}}
            audit.record_by(actor, "message.cancel", "message", ids.text(own), details)
        STATUS_CHANGES.labels("cancelled").inc()
        return find(message_id)
