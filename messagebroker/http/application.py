"""What every Falcon application of this system has: access, problems, health, metrics, documents."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import falcon
import structlog

from messagebroker.errors import BrokerError, Conflict, Damaged, NotFound, Refused, Unavailable
from messagebroker.http.docs_page import DocsPage
from messagebroker.http.health import Check, Health, Ready
from messagebroker.http.metrics import Metrics
from messagebroker.http.openapi import OpenApi, Operation, document, mount
from messagebroker.http.problems import DAMAGED, Problem, serialize
from messagebroker.http.tracing import trace_id
from messagebroker.ops.metrics import HTTP_REQUESTS, HTTP_SECONDS
from messagebroker.settings import Settings

log = structlog.get_logger(__name__)
App = falcon.App[falcon.Request, falcon.Response]
_METHODS = frozenset(falcon.HTTP_METHODS)


class Measure:
    """Middleware: counts and times every request under its route. Outermost, so that refusals count too.

    `req.context.started` is the `time.perf_counter()` of its beginning.
    """

    def __init__(self) -> None:
        self._counters: dict[tuple[str, str, int], Any] = {}  # `labels()` takes a lock and builds strings: once is enough
        self._histograms: dict[str, Any] = {}

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Starts the clock."""
        request.context.started = time.perf_counter()

    def process_response(self, request: falcon.Request, response: falcon.Response, resource: Any, succeeded: bool) -> None:
        """Stops it."""
        started = getattr(request.context, "started", None)
        if started is None:
            return  # Falcon refused it before anybody saw it: WEBSOCKET as a method
        route = request.uri_template or "none"
        method = request.method if request.method in _METHODS else "other"  # strangers choose it
        key = (method, route, response.status_code)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = HTTP_REQUESTS.labels(method, route, str(response.status_code))
            self._histograms[route] = HTTP_SECONDS.labels(route)
        counter.inc()
        self._histograms[route].observe(time.perf_counter() - started)


class Farewells:
    """Middleware: puts the headers of a deprecated operation on all its answers, the refusals too.

    `req.context.farewell` is for those that are answered outside of Falcon.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._headers = {(one.path, one.method): one.deprecated.headers for one in operations if one.deprecated is not None}

    def process_resource(self, request: falcon.Request, response: falcon.Response, resource: Any, params: Any) -> None:
        """Before anybody can refuse it for what it says."""
        headers = self._headers.get((request.uri_template or "", request.method))
        if headers is not None:
            request.context.farewell = list(headers.items())
            response.set_headers(headers)


def make_app(
    role: str,
    *,
    settings: Settings,
    middleware: Sequence[Any],
    resources: Iterable[Any],
    checks: Sequence[Check] = (),
    warnings: Callable[[], list[str]] | None = None,
    refresh_metrics: Callable[[], None] | None = None,
) -> App:
    """The Falcon application of a role.

    Args:
        role: `proxy` or `main`.
        settings: as loaded.
        middleware: `Access` first, then the role's own.
        resources: objects with Falcon responders and `operations`, under whose paths they are mounted.
        checks: what /health/ready asks.
        warnings: sentences for /health.
        refresh_metrics: called before /metrics is read.
    """
    listed = list(resources)
    announced = [operation for resource in listed for operation in resource.operations]
    farewells = [Farewells(announced)] if any(operation.deprecated for operation in announced) else []
    app: App = falcon.App(middleware=[Measure(), *farewells, *middleware])
    app.set_error_serializer(serialize)
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(BrokerError, _expected)
    common: list[Any] = [Health(role, warnings), Ready(checks)]
    if settings.metrics_enabled:
        common.append(Metrics(refresh_metrics))
    operations = mount(app, [*common, *listed])
    described = [*operations, *OpenApi.operations, *DocsPage.operations]
    built = cache(lambda: document(f"Message Broker: {role}", described))  # when somebody asks: it takes a while
    mount(app, [OpenApi(built), DocsPage(built)])
    return app


_BY_ERROR: tuple[tuple[type[BrokerError], int, str], ...] = (
    (NotFound, 404, "not-found"),
    (Conflict, 409, "conflict"),
    (Refused, 403, "refused"),
)


def _expected(request: falcon.Request, response: falcon.Response, error: BrokerError, params: dict[str, Any]) -> None:
    """What ops functions raise for callers to read. An outage's text names servers, so that one is logged, not sent."""
    for kind, status, name in _BY_ERROR:
        if isinstance(error, kind):
            raise Problem(status, name, str(error))
    if isinstance(error, Unavailable):
        log.warning("a part does not answer", route=request.uri_template, error=str(error), trace=trace_id(request))
        detail = "a part of this system does not answer at this moment; the same request may succeed shortly"
        raise Problem(503, "unavailable", detail, headers={"Retry-After": "2"})
    if isinstance(error, Damaged):
        quoted = trace_id(request)
        log.error("what is stored is damaged", route=request.uri_template, error=str(error), trace=quoted)
        detail = f"what is stored was changed, or a key to it is missing; tell the operator this id: {quoted}"
        raise Problem(500, DAMAGED, detail, id=quoted)
    _unexpected(request, response, error, params)


def _unexpected(request: falcon.Request, response: falcon.Response, error: Exception, params: dict[str, Any]) -> None:
    """A mistake of ours: the log has the traceback, the caller gets an id to quote."""
    quoted = trace_id(request)
    log.error("unexpected error", route=request.uri_template, method=request.method, trace=quoted, exc_info=error)
    raise Problem(500, "internal-error", f"an unexpected error; tell the operator this id: {quoted}", id=quoted)
