"""What load balancers and monitoring ask the portal."""

from __future__ import annotations

import ipaddress
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from messagebroker import __version__
from messagebroker.client import ClientError
from messagebroker.ui.metrics import CONTENT_TYPE
from messagebroker.ui.peer import IS_MONITORING
from messagebroker.ui.portal import Portal

PROBLEM = "urn:messagebroker:problem:"


class Health:
    """`/health`, `/health/ready` and `/metrics`."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal

    async def alive(self, request: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "ok", "role": "portal", "version": __version__, "warnings": []})

    async def ready(self, request: Request) -> Response:
        """Main answers too, without which every page is an apology."""
        try:
            await self.portal.api.health()
        except ClientError:
            detail = "not ready: main does not answer"
            return _problem(503, "not-ready", detail, {"Retry-After": "1"}, checks={"main": "does not answer"})
        return JSONResponse({"status": "ready", "checks": {"main": "ok"}})

    async def metrics(self, request: Request) -> Response:
        """For this machine and for the holder of the monitoring system's certificate."""
        if not (_is_loopback(request) or request.scope.get(IS_MONITORING)):
            detail = "/metrics answers this machine and the certificate of component:monitoring only"
            return _problem(403, "forbidden", detail)
        self.portal.metrics.sessions.set(len(self.portal.sessions))
        return Response(self.portal.metrics.text(), headers={"content-type": CONTENT_TYPE})


def _is_loopback(request: Request) -> bool:
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _problem(status: int, name: str, detail: str, headers: dict[str, str] | None = None, **extra: Any) -> Response:
    title = name.replace("-", " ").capitalize()
    document = {"type": PROBLEM + name, "title": title, "status": status, "detail": detail, **extra}
    return JSONResponse(document, status_code=status, headers=headers, media_type="application/problem+json")
