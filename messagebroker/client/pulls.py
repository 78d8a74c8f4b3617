"""Taking messages of a subscription from main: the calls that both clients send."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import httpx
import msgspec
from msgspec import Struct, field

from messagebroker.client.calls import JSON, Call, as_json, reader
from messagebroker.client.requests import under
from messagebroker.client.retry import parse_retry_after

PULL = "/api/v1/pull"
_SECONDS_FOR_THE_ANSWER = 30.0


class PulledMessage(Struct, frozen=True, kw_only=True):
    """A message, one's own until `lease_until`. A body that is no text is in `body_base64`."""

    lease_id: str
    lease_until: datetime
    attempt: int
    message_id: str
    topic: str
    client: str
    priority: str = "normal"
    created_at: datetime | None = None
    body: str | None = None
    body_base64: bytes | None = None
    sender: str | None = None
    metadata: dict[str, Any] | None = None
    content_type: str | None = None
    correlation_id: str | None = None
    traceparent: str | None = None


class Pulled(Struct, frozen=True, kw_only=True):
    """What a pull brought. `retry_after`: seconds, where too many pulls wait already, so that this one did not."""

    items: list[PulledMessage]
    retry_after: float | None = None


class LeaseResult(Struct, frozen=True, kw_only=True):
    """`result` is `done` or `lost`: the lease ended before, and somebody else may have the message."""

    lease_id: str
    result: str
    lease_until: datetime | None = None  # of an extended one


class LeaseResults(Struct, frozen=True, kw_only=True):
    """In the order in which the leases were named."""

    items: list[LeaseResult] = field(default_factory=list)


def pull(subscription_id: int | str, *, most: int = 10, wait: float = 0.0, lease: int = 60) -> Call[Pulled]:
    """Up to `most` messages (100), each for `lease` seconds (5 to 3600); waits up to `wait` seconds (30) for the first."""
    document = {"max": most, "wait_seconds": wait, "lease_seconds": lease}
    return _post(under(PULL, subscription_id), document, _read_pulled, timeout=wait + _SECONDS_FOR_THE_ANSWER)


def acknowledge(subscription_id: int | str, lease_ids: Sequence[str]) -> Call[LeaseResults]:
    """The messages are done. Repeating it is no harm."""
    return _post(under(PULL, subscription_id, "acknowledge"), {"lease_ids": list(lease_ids)}, _RESULTS)


def extend(subscription_id: int | str, lease_ids: Sequence[str], *, lease: int = 60) -> Call[LeaseResults]:
    """The leases end `lease` seconds from now."""
    return _post(under(PULL, subscription_id, "extend"), {"lease_ids": list(lease_ids), "lease_seconds": lease}, _RESULTS)


def give_back(subscription_id: int | str, lease_ids: Sequence[str], *, delay: float = 0.0) -> Call[LeaseResults]:
    """The messages come again after `delay` seconds, to anybody who pulls. Repeating it is no harm."""
    return _post(under(PULL, subscription_id, "return"), {"lease_ids": list(lease_ids), "delay_seconds": delay}, _RESULTS)


def _post(path: str, document: dict[str, Any], read: Any, *, timeout: float | None = None) -> Call[Any]:
    """Repeatable: a pull whose answer was lost has leases that end by themselves."""
    return Call(method="POST", path=path, read=read, headers={"content-type": JSON}, content=as_json(document), timeout=timeout)


def _read_pulled(response: httpx.Response) -> Pulled:
    return msgspec.structs.replace(_PULLED(response), retry_after=parse_retry_after(response.headers.get("retry-after")))


_PULLED = reader(Pulled)
_RESULTS = reader(LeaseResults)
