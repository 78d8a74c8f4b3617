"""What the system answers. Unknown members are ignored, so that a newer system does not break an older client."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, field


class Submitted(Struct, frozen=True, kw_only=True):
    """A message that the system has taken over."""

    message_id: str
    status: str = "queued"
    client_id: str | None = None
    queued_at: datetime | None = None
    topic: str | None = None
    durability: str | None = None  # "fsync": on disk before this answer; "memory": not
    deliver_at: datetime | None = None


class BatchItem(Struct, frozen=True, kw_only=True):
    """The fate of one message of a batch: `message_id` when it was taken, else `problem` says why not."""

    index: int
    message_id: str | None = None
    status: str | None = None
    problem: dict[str, Any] | None = None


class BatchResult(Struct, frozen=True, kw_only=True):
    """The fate of a whole batch, item by item, in the order in which they were sent."""

    accepted: int
    refused: int
    durability: str | None = None
    items: list[BatchItem] = field(default_factory=list)


class Message(Struct, frozen=True, kw_only=True):
    """A stored message. `body`, `sender` and `metadata` are None unless the body was asked for."""

    message_id: str
    client_id: str
    topic: str
    status: str
    priority: str = "normal"
    created_at: datetime | None = None
    stored_at: datetime | None = None
    due_at: datetime | None = None
    expires_at: datetime | None = None
    routed: int = 0
    attempts: int = 0
    size: int | None = None
    correlation_id: str | None = None
    alias_of: str | None = None  # the id asked for is a later copy's, and this one is stored
    body: Any = None
    body_base64: str | None = None  # of a body that is no text
    content_type: str | None = None
    sender: str | None = None
    metadata: dict[str, Any] | None = None


class MessagePage(Struct, frozen=True, kw_only=True):
    """A part of the list of messages; `next` is the cursor of the following part."""

    items: list[Message]
    next: str | None = None


class IssuedCertificate(Struct, frozen=True, kw_only=True):
    """A certificate that the system's CA has just signed, in PEM."""

    serial: str
    name: str
    not_before: datetime
    not_after: datetime
    certificate: str
    ca: str | None = None  # who signed it


class HourCount(Struct, frozen=True, kw_only=True):
    """What was accepted in the hour (UTC) that begins at `hour`, and has left the queue."""

    hour: datetime
    stored: int
    copies: int = 0  # ids that answer for an earlier message under the same idempotency key
    set_aside: int = 0  # could not be stored; operators have them


class Counts(Struct, frozen=True, kw_only=True):
    """A client's messages per hour, and their sums: to be compared with the client's own books."""

    client_id: str
    since: datetime
    until: datetime
    stored: int
    copies: int = 0
    set_aside: int = 0
    items: list[HourCount] = field(default_factory=list)


class Token(Struct, frozen=True, kw_only=True):
    """A person's access token, and the refresh token of their session."""

    access_token: str
    token_type: str = "bearer"  # noqa: S105
    expires_in: float = 3600
    refresh_token: str | None = None  # good once, for the next Token
    must_change_password: bool = False

    def __repr__(self) -> str:
        return f"Token(must_change_password={self.must_change_password})"  # never the token itself


class Person(Struct, frozen=True, kw_only=True):
    """Whom a token belongs to."""

    email: str
    role: str
    permissions: list[str] = field(default_factory=list)
    must_change_password: bool = False


class Queue(Struct, frozen=True, kw_only=True):
    """One queue's depth, in messages."""

    queue: str
    messages: int
    calls: int = 0
    running: int = 0
    oldest_seconds: float | None = None


class QueueStats(Struct, frozen=True, kw_only=True):
    """The depth of every queue."""

    queues: list[Queue] = field(default_factory=list)

    @property
    def messages(self) -> int:
        """Messages waiting or running, all queues together."""
        return sum(queue.messages for queue in self.queues)

    @property
    def oldest_seconds(self) -> float | None:
        """Age of the oldest of them; None when there is none."""
        return max((q.oldest_seconds for q in self.queues if q.oldest_seconds is not None), default=None)


class AuditEntry(Struct, frozen=True, kw_only=True):
    """Who did what to which object."""

    id: int
    created_at: datetime
    actor: str
    action: str
    object_type: str
    object_id: str
    address: str | None = None
    user_agent: str | None = None
    details: Any = None


class AuditPage(Struct, frozen=True, kw_only=True):
    """A part of the audit log; `next` is the cursor of the following part."""

    items: list[AuditEntry]
    next: str | None = None
