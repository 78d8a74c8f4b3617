"""RFC 9457 problem documents: one class, one serializer, stable type names."""

from __future__ import annotations

from math import ceil
from typing import Any

import falcon
import msgspec

from messagebroker.ops.limits import Verdict
from messagebroker.ops.metrics import AUTH_REFUSED

PREFIX = "urn:messagebroker:problem:"
DAMAGED = "damaged"
"""The name of the problem with what is stored and cannot be opened any more: asking again does not help."""


class Problem(falcon.HTTPError):
    """An error answer.

    Args:
        status: HTTP status code.
        name: the stable type name, such as `invalid-field`; the document's `type` is PREFIX + name.
        detail: a sentence about this occurrence: what is wrong, where, what to do.
        field: the field at fault, as a path (`metadata.colour`, `items[3].topic`).
        headers: extra response headers (Retry-After, WWW-Authenticate).
        extra: further members of the document.
    """

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        *,
        field: str | None = None,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        self.name = name
        super().__init__(
            falcon.code_to_http_status(status), title=name.replace("-", " ").capitalize(), description=detail, headers=headers
        )
        self.document: dict[str, Any] = {
            "type": PREFIX + name,
            "title": self.title,
            "status": status,
            "detail": detail,
            **({"field": field} if field is not None else {}),
            **extra,
        }


def rate_limited(verdict: Verdict, whose: str) -> Problem:
    """The 429 for a request that `verdict` refuses."""
    headers = {**verdict.headers, "Retry-After": str(max(1, ceil(verdict.wait)))}
    return Problem(429, "rate-limited", f"too many requests from this {whose}; wait {verdict.wait:.2f} s", headers=headers)


_FOR_WHO_ASKED = (401, 403, 429)
_STEPS = frozenset({"second-factor-required"})  # a login asks for more; nobody was refused


def count_refusal(problem: Problem) -> None:
    """Counts what is refused for who asked, whoever refused it. Every answer comes by here, so that nobody else has to."""
    if problem.document["status"] in _FOR_WHO_ASKED and problem.name not in _STEPS:
        AUTH_REFUSED.labels(problem.name).inc()


_BY_STATUS = {400: "bad-request", 404: "not-found", 405: "method-not-allowed", 413: "too-large", 415: "unsupported-media-type"}


def serialize(request: falcon.Request, response: falcon.Response, error: falcon.HTTPError) -> None:
    """Falcon's error serializer: every error leaves as application/problem+json."""
    if isinstance(error, Problem):
        count_refusal(error)
        document = error.document
    else:
        document = {
            "type": PREFIX + _BY_STATUS.get(error.status_code, "error"),
            "title": error.title or error.status,
            "status": error.status_code,
            "detail": error.description or f"{request.method} {request.path}: {error.status}",
        }
    response.content_type = "application/problem+json"
    response.data = msgspec.json.encode(document)
