"""The portal's metrics, in a registry of their own: the portal never loads the system's other parts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest

from messagebroker import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Named like those of the other roles."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info("messagebroker_build", "Version and role of this process.", registry=self.registry).info(
            {"version": __version__, "role": "portal"}
        )
        self.requests = Counter(
            "messagebroker_http_requests_total", "Answered requests.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "messagebroker_http_request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.sessions = Gauge("messagebroker_portal_sessions", "People's open sessions.", registry=self.registry)
        self.pages = Gauge("messagebroker_portal_pages", "Pages open in browsers.", registry=self.registry)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
