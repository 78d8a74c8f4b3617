"""Answers and errors as status line, headers and body, for requests that left the application before they were answered."""

from __future__ import annotations

import time
from typing import Any

import falcon
import msgspec
import structlog

from messagebroker.http.later import Reply
from messagebroker.http.problems import Problem, count_refusal
from messagebroker.http.tracing import trace_id
from messagebroker.ops.metrics import HTTP_REQUESTS, HTTP_SECONDS

log = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder().encode
_counters: dict[tuple[str, str, str], Any] = {}
_histograms: dict[str, Any] = {}


def of_error(error: Exception, request: falcon.Request) -> Reply:
    """A problem document; for a mistake of ours one with an id to quote."""
    if not isinstance(error, Problem):
        quoted = trace_id(request)
        log.error("unexpected error", route=request.uri_template, method=request.method, trace=quoted, exc_info=error)
        error = Problem(500, "internal-error", f"an unexpected error; tell the operator this id: {quoted}", id=quoted)
    count_refusal(error)
    headers = [("Content-Type", "application/problem+json"), *dict(error.headers or {}).items()]
    return str(error.status), headers, _encode(error.document)


def give(reply: Reply, response: falcon.Response) -> None:
    """The same through Falcon."""
    response.status, headers, response.data = reply
    response.content_type = None
    response.set_headers(headers)


def measured(reply: Reply, request: falcon.Request) -> Reply:
    """Counts and times the request as `application.Measure` does for those that it sees the end of."""
    route = request.uri_template or "none"
    status = reply[0][:3]
    counter = _counters.get((request.method, route, status))
    if counter is None:
        counter = _counters[request.method, route, status] = HTTP_REQUESTS.labels(request.method, route, status)
        _histograms[route] = HTTP_SECONDS.labels(route)
    counter.inc()
    _histograms[route].observe(time.perf_counter() - request.context.started)
    farewell = getattr(request.context, "farewell", None)
    return reply if farewell is None else (reply[0], [*reply[1], *farewell], reply[2])
