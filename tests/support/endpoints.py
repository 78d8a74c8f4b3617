"""What an application answers to, as its router and as its OpenAPI document have it."""

from __future__ import annotations

from typing import Any

from falcon import inspect

from messagebroker.http.openapi import template

Endpoint = tuple[str, str]
"""Method and path template."""


def routed(app: Any) -> set[Endpoint]:
    """Every method of every route; OPTIONS and the 405s, which Falcon answers by itself, left out."""
    return {
        (method.method, template(route.path))
        for route in inspect.inspect_routes(app)
        for method in route.methods
        if not method.internal
    }  # fmt: skip


def documented(document: dict[str, Any]) -> set[Endpoint]:
    """Every operation of the document."""
    return {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


def heads_of(endpoints: set[Endpoint]) -> set[Endpoint]:
    """HEAD where there is a GET: the same without its body, and so not described by itself."""
    return {("HEAD", path) for method, path in endpoints if method == "HEAD" and ("GET", path) in endpoints}


def right_of(app: Any, endpoint: Endpoint) -> Any:
    """What main's resource says of who may use it; None where it says nothing."""
    method, path = endpoint
    resource = app._router.find(path)[0]  # a template is a path, too: its variables match themselves
    return getattr(resource, "rights", {}).get(method)
