"""`/metrics` in Prometheus' text format. `Access` lets in loopback and `component:monitoring` only."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import falcon
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from messagebroker.http.openapi import PUBLIC, Operation
from messagebroker.ops.metrics import REGISTRY

_ANSWERS = {200: str, 401: None, 403: None}


class Metrics:
    """The registry of this process.

    Args:
        refresh: brings gauges up to date before they are read; what it raises is an error answer, never silence.
    """

    operations: ClassVar = (
        Operation("GET", "/metrics", "Metrics for Prometheus", responses=_ANSWERS, security=PUBLIC, tag="health"),
        Operation("GET", "/api/v1/metrics", "The same", responses=_ANSWERS, security=PUBLIC, tag="health"),
    )

    def __init__(self, refresh: Callable[[], None] | None = None) -> None:
        self._refresh = refresh

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """The text form; Prometheus asks for it every few seconds."""
        if self._refresh is not None:
            self._refresh()
        response.content_type = CONTENT_TYPE_LATEST
        response.data = generate_latest(REGISTRY)
