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
    deprecated_topics: list[str] = field(default_factory=list)  # the topic, when nobody should use it any more


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
    deprecated_topics: list[str] = field(default_factory=list)  # of those that were sent to


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


class QueuePause(Struct, frozen=True, kw_only=True):
    """Who paused a queue, and why."""

    paused_at: datetime
    paused_by: str
    reason: str = ""


class Queue(Struct, frozen=True, kw_only=True):
    """One queue, in messages; a stored one counts once for each of its deliveries. Rates are over the last minute."""

    queue: str
    messages: int  # accepted, not stored yet
    calls: int = 0  # that carry them
    waiting: int = 0  # could begin now
    running: int = 0
    delayed: int = 0  # for later: scheduled, or between two attempts
    failed: int = 0  # dead letters
    stuck: int = 0  # running, past their lease
    oldest_seconds: float | None = None  # how long the one that waits longest could have begun
    in_per_second: float = 0.0
    stored_per_second: float = 0.0
    delivered_per_second: float = 0.0
    workers: int = 0  # processes that take from it
    paused: QueuePause | None = None
    dead_letters: int = 0  # calls that no program there understands


class ChannelDepth(Struct, frozen=True, kw_only=True):
    """Deliveries of one channel, of all queues together."""

    channel: str
    waiting: int = 0  # could begin now
    running: int = 0
    delayed: int = 0  # scheduled, or between two attempts
    failed: int = 0  # dead letters
    stuck: int = 0  # running, past their lease
    oldest_seconds: float = 0.0  # how long the one that waits longest could have begun


class RedisLoad(Struct, frozen=True, kw_only=True):
    """What Redis does. `limit_bytes` 0: it has no limit."""

    operations_per_second: int = 0
    commands: int = 0  # since it started
    used_bytes: int = 0
    limit_bytes: int = 0
    clients: int = 0


class QueueStats(Struct, frozen=True, kw_only=True):
    """All queues."""

    queues: list[Queue] = field(default_factory=list)
    channels: list[ChannelDepth] = field(default_factory=list)
    redis: RedisLoad | None = None
    scheduled: int = 0  # messages before their time
    ingest_failures: int = 0  # accepted messages that could not be stored

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
