"""The client for senders, for asyncio: submits messages to a proxy and reads them back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from messagebroker.client import submission
from messagebroker.client.answers import BatchResult, Counts, IssuedCertificate, Message, MessagePage, Submitted
from messagebroker.client.broker import NOT_STORED_YET
from messagebroker.client.errors import Problem
from messagebroker.client.renewal import OF_CLIENTS
from messagebroker.client.submission import CloudEvent, Draft
from messagebroker.client.transport import AsyncTransport


class AsyncMessageBroker(AsyncTransport):
    """A sender's connection to a proxy; the same as `MessageBroker`, awaited."""

    async def submit(
        self,
        body: Any,
        *,
        topic: str | None = None,
        sender: str | None = None,
        priority: str | None = None,
        deliver_at: datetime | None = None,
        expires_at: datetime | None = None,
        metadata: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
        wait: float | None = None,
    ) -> Submitted:
        """Hands over one message; `wait` seconds for it to be stored when given."""
        message = submission.draft(
            body, topic=topic, sender=sender, priority=priority, deliver_at=deliver_at, expires_at=expires_at, metadata=metadata
        )
        return await self.run(submission.submit_draft(message, idempotency_key, wait))

    async def submit_batch(self, messages: Iterable[Draft], *, idempotency_key: str | None = None) -> BatchResult:
        """Hands over up to 1,000 messages; the good ones are taken, the bad ones named."""
        return await self.run(submission.submit_batch(messages, idempotency_key))

    async def submit_event(
        self, event: CloudEvent, *, idempotency_key: str | None = None, wait: float | None = None
    ) -> Submitted:
        """Hands over one CloudEvent."""
        return await self.run(submission.submit_event(event, idempotency_key, wait))

    async def submit_events(self, events: Iterable[CloudEvent], *, idempotency_key: str | None = None) -> BatchResult:
        """Hands over a batch of CloudEvents."""
        return await self.run(submission.submit_events(events, idempotency_key))

    async def get(self, message_id: str, *, wait: float = 0.0) -> Message:
        """One of the client's own messages; waits up to `wait` seconds for it to be stored."""
        deadline = time.monotonic() + wait
        while True:
            try:
                return await self.run(submission.get(message_id))
            except Problem as problem:
                pause = min(problem.retry_after or 0.2, 0.5)
                if problem.name != NOT_STORED_YET or time.monotonic() + pause > deadline:
                    raise
                await asyncio.sleep(pause)

    async def renew_certificate(self, *, only_when_due: bool = False) -> IssuedCertificate | None:
        """Makes a new key, has its certificate signed, and replaces both files; the old certificate stays valid until its end.

        With `only_when_due` only when two thirds of the certificate's life are over; None when they are not.
        """
        return await self.renewed(OF_CLIENTS, only_when_due=only_when_due)

    async def list_messages(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        status: str | None = None,
        oldest_first: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> MessagePage:
        """A part of the list of the client's own messages, by the time of acceptance; `next` is the following `cursor`."""
        return await self.run(submission.list_messages(since, until, status, oldest_first, limit, cursor))

    async def counts(self, *, since: datetime | None = None, until: datetime | None = None) -> Counts:
        """The client's own messages per hour, of the last 24 hours unless told otherwise; up to 31 days."""
        return await self.run(submission.counts(since, until))

    async def whoami(self) -> dict[str, Any]:
        """What the proxy sees: the certificate, its expiry, clock skew, limits."""
        return await self.run(submission.whoami())
