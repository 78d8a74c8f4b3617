"""What a channel is told and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

from messagebroker.ops.records import Payload

Kind = Literal["delivered", "retry", "failed", "gone"]
"""`retry`: may pass, the schedule goes on. `failed`: would fail for ever. `gone`: the whole subscription is disabled."""

ANSWER_BYTES = 4096
"""Of an answer that are kept."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a channel needs to know of a subscription."""

    id: int
    name: str
    config: Any  # of the type that the channel's `config` names
    secrets: Any = field(repr=False)  # of the type that its `secrets` names; None where it has none


@dataclass(frozen=True, kw_only=True)
class Work:
    """One message to be delivered now."""

    message_id: bytes
    client: str
    topic: str
    priority: str
    created_at: datetime  # accepted by the proxy
    attempt: int  # 1 for the first
    payload: Payload = field(repr=False)  # opened
    target: Target
    correlation_id: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one attempt ended. Who calls the channel measures how long it took."""

    kind: Kind
    code: int | None = None  # of HTTP or SMTP
    error: str | None = None  # one line for people; None when delivered
    retry_after: float | None = None  # seconds that the receiver asked for
    reached: bool = False  # not delivered, but to some of its receivers: the destination works
    together: bool = False  # a retry comes without jitter, so that all of a call come back at the same moment
    request: dict[str, str] = field(default_factory=dict)  # headers that were sent, secrets masked
    answer: bytes = b""  # the first ANSWER_BYTES of it


class Channel(Protocol):
    """One way of delivering. Made once a process, in the process' event loop.

    Errors that a channel does not turn into an Outcome are defects: the attempt counts as `retry`.
    """

    name: str
    config: type[msgspec.Struct]  # what people say of it
    secrets: type[msgspec.Struct] | None  # the part of that which is sealed
    at_once: int  # calls for one subscription at the same time, in one process
    merges: int  # works of one subscription in one call; 1: each alone

    async def deliver(self, works: Sequence[Work]) -> Sequence[Outcome]:
        """Tries once. All works have the same target; an outcome for each, in their order."""

    async def close(self) -> None:
        """Ends what it holds open."""
