"""A request as data, and how its answer is read: what the sync and the async client share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import httpx
import msgspec

from messagebroker.client.errors import Problem
from messagebroker.client.retry import BUSY_KEY, RETRIED, parse_retry_after

T = TypeVar("T")
JSON = "application/json"
Param = str | int | bool | datetime | None


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """One request to the system and the type of its answer.

    `repeatable`: sending it twice does no harm (a GET, or it carries an Idempotency-Key), so a lost answer is retried.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    params: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None
    repeatable: bool = True
    timeout: float | None = None  # seconds; None: the client's own
    idempotency_key: str | None = None

    def failure(self, response: httpx.Response) -> Problem | None:
        """The problem that `response` reports, None when it is a success."""
        if response.is_success:
            return None
        return problem_of(response, self.idempotency_key)

    def may_retry(self, problem: Problem) -> bool:
        """Whether this answer invites another try."""
        if problem.status == 409:
            return problem.name == BUSY_KEY
        return problem.status in RETRIED and (self.repeatable or problem.status in (429, 503))


def problem_of(response: httpx.Response, idempotency_key: str | None = None) -> Problem:
    """A Problem from any error answer, also from one that some box in between wrote."""
    try:
        document = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = None
    if not isinstance(document, dict):
        detail = (
            f"{response.request.url.host} answered {response.status_code} {response.reason_phrase} without a problem document"
        )
        document = {"type": "about:blank", "title": response.reason_phrase, "detail": detail}
    after = parse_retry_after(response.headers.get("retry-after"))
    return Problem(response.status_code, document, retry_after=after, idempotency_key=idempotency_key)


def reader(kind: type[T]) -> Callable[[httpx.Response], T]:
    """Reads an answer's JSON as `kind`."""
    decoder = msgspec.json.Decoder(kind)

    def read(response: httpx.Response) -> T:
        try:
            return decoder.decode(response.content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            detail = (
                f"the answer to {response.request.method} {response.request.url.path} is not what this client knows: {error}"
            )
            raise Problem(response.status_code, {"type": "unexpected-answer", "detail": detail}) from error

    return read


def as_params(**given: Param) -> dict[str, str]:
    """Of a query; those that are None are left out. Times without a zone are local ones, as everywhere in Python."""
    return {name: _param(value) for name, value in given.items() if value is not None}


def _param(value: str | int | bool | datetime) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_json(value: Any) -> bytes:
    """Compact JSON; datetimes as RFC 3339."""
    return msgspec.json.encode(value)
