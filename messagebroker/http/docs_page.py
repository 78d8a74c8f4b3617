"""A page for people, made from the OpenAPI document: one HTML file, no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from html import escape
from typing import Any, ClassVar

import falcon
import msgspec

from messagebroker.http.openapi import Operation

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1c2430;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.1rem;margin:2rem 0 .3rem}code,pre{font:14px/1.4 ui-monospace,monospace}
pre{background:#f3f5f8;padding:.8rem;overflow:auto;border-radius:.4rem}
.method{display:inline-block;min-width:4rem;font-weight:700}table{border-collapse:collapse}
td,th{border:1px solid #cfd6df;padding:.2rem .6rem;text-align:left;vertical-align:top}
@media(prefers-color-scheme:dark){body{color:#e3e8ef;background:#14181f}pre{background:#1f252f}td,th{border-color:#3a4351}}
"""


class DocsPage:
    """Serves the page at /docs."""

    operations: ClassVar = (
        Operation(
            "GET", "/docs", "This API for people", responses={200: str}, media="text/html; charset=utf-8", tag="documents"
        ),
    )

    def __init__(self, document: Callable[[], dict[str, Any]]) -> None:
        self._page = cache(lambda: render(document()).encode())

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """The same page for everybody."""
        response.content_type = "text/html; charset=utf-8"
        response.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
        response.data = self._page()


def render(document: dict[str, Any]) -> str:
    """The document as HTML."""
    info = document["info"]
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        '<p>The same as <a href="/openapi.json">OpenAPI 3.1</a>.</p>'
    ]
    for path, methods in document["paths"].items():
        parts += [_operation(path, method, described) for method, described in methods.items()]
    parts.append("<h1>Types</h1>")
    for name, schema in document["components"]["schemas"].items():
        parts.append(f'<h2 id="{escape(name)}">{escape(name)}</h2><pre>{_pretty(schema)}</pre>')
    return "".join(parts) + "</html>"


def _operation(path: str, method: str, described: dict[str, Any]) -> str:
    accepts = " or ".join(scheme for choice in described["security"] for scheme in choice) or "anybody"
    parts = [
        f'<h2><span class="method">{escape(method.upper())}</span> <code>{escape(path)}</code></h2>',
        f"<p>{escape(described['summary'])}. For: {escape(accepts)}. {escape(described.get('description', ''))}</p>",
    ]
    if "parameters" in described:
        rows = "".join(_parameter(parameter) for parameter in described["parameters"])
        parts.append(f"<table><tr><th>Parameter</th><th>In</th><th>Schema</th></tr>{rows}</table>")
    for media, content in described.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Body: <code>{escape(media)}</code> {_reference(content['schema'])}</p>")
    rows = "".join(_response(status, response) for status, response in described["responses"].items())
    return "".join(parts) + f"<table><tr><th>Status</th><th>Answer</th></tr>{rows}</table>"


def _parameter(parameter: dict[str, Any]) -> str:
    name, schema = escape(parameter["name"]), _pretty(parameter["schema"], 0)
    return f"<tr><td><code>{name}</code></td><td>{parameter['in']}</td><td><code>{schema}</code></td></tr>"


def _response(status: str, response: dict[str, Any]) -> str:
    kinds = ", ".join(f"<code>{escape(m)}</code> {_reference(c['schema'])}" for m, c in response.get("content", {}).items())
    return f"<tr><td>{status} {escape(response['description'])}</td><td>{kinds}</td></tr>"


def _reference(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    return f"<code>{_pretty(schema, 0)}</code>" if schema else ""


def _pretty(schema: dict[str, Any], indent: int = 2) -> str:
    return escape(msgspec.json.format(msgspec.json.encode(schema), indent=indent).decode())
