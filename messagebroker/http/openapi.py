"""OpenAPI 3.1 from the msgspec types that decode and encode, so that document and behaviour cannot part."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache
from http import HTTPStatus
from typing import Any, ClassVar

import falcon
import msgspec

from messagebroker import __version__
from messagebroker.http.decoding import answer

PUBLIC: tuple[str, ...] = ()
CERTIFICATE = ("certificate",)
TOKEN = ("token",)
CERTIFICATE_OR_TOKEN = ("certificate", "token")
"""Values of `Operation.security`: any one of the named schemes will do."""

REFERENCE = "#/components/schemas/{name}"
_SCHEMES = {
    "certificate": {"type": "mutualTLS", "description": "A certificate of the organisation's CA."},
    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "From `POST /api/v1/auth/login`."},
}


class ProblemDocument(msgspec.Struct, kw_only=True):
    """RFC 9457. `field` names what is at fault; some problems have further members."""

    type: str
    title: str
    status: int
    detail: str
    field: str | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, kw_only=True)
class Deprecated:
    """An operation that will go: every answer of it says so, in the headers of RFC 9745 and RFC 8594.

    `since`: from when on nobody should begin to use it. `sunset`: when it goes. `link`: what to read, or to use instead.
    """

    since: datetime
    sunset: datetime
    link: str

    @property
    def headers(self) -> dict[str, str]:
        """`Deprecation`, `Sunset` and `Link`."""
        return {
            "Deprecation": f"@{int(self.since.timestamp())}",
            "Sunset": format_datetime(self.sunset.astimezone(UTC), usegmt=True),
            "Link": f'<{self.link}>; rel="deprecation"',
        }


@dataclass(frozen=True)
class Operation:
    """One method of one path: what the document says of it, and which path the resource is mounted on.

    `responses` maps a status to the type of its body: a struct, a tuple of them (any), `str` (text), `bytes` (anything)
    or None, which is a problem document for 400 and above and an empty body below. `path` types name the template's variables.
    `request` is a struct (application/json), or a mapping of media types to structs or `bytes`.
    """

    method: str
    path: str
    summary: str
    request: Any = None
    responses: dict[int, Any] = field(default_factory=dict)
    security: tuple[str, ...] = CERTIFICATE
    query: type | None = None
    path_types: dict[str, Any] = field(default_factory=dict)
    headers: type | None = None
    response_headers: dict[int, dict[str, str]] = field(default_factory=dict)
    media: str | tuple[str, ...] | None = None
    tag: str = "api"
    description: str = ""
    deprecated: Deprecated | None = None


def mount(app: falcon.App[Any, Any], resources: Iterable[Any]) -> list[Operation]:
    """Adds every resource under the paths that its `operations` name; returns all operations."""
    found: list[Operation] = []
    for resource in resources:
        for path in dict.fromkeys(operation.path for operation in resource.operations):
            app.add_route(path, resource)
        found.extend(resource.operations)
    return found


def template(path: str) -> str:
    """A path as the document has it. Falcon's `{name:path}` is a name that may have slashes in it."""
    return path.replace(":path}", "}")


def document(title: str, operations: Iterable[Operation], *, url: str = "/") -> dict[str, Any]:
    """The whole OpenAPI document."""
    listed = list(operations)
    kinds = list(dict.fromkeys(kind for operation in listed for kind in _kinds(operation)))
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    schema_of = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in listed:
        paths.setdefault(template(operation.path), {})[operation.method.lower()] = _described(operation, schema_of, components)
    for operation in listed:  # parameters are written out where they are used
        for kind in (operation.query, operation.headers):
            components.pop(_component_name(schema_of[kind]) if kind else "", None)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": __version__, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _SCHEMES},
    }


def _kinds(operation: Operation) -> list[Any]:
    kinds: list[Any] = [ProblemDocument, *operation.path_types.values()]
    for kind in (*operation.responses.values(), *_requests(operation).values()):
        kinds += kind if isinstance(kind, tuple) else (kind,)
    kinds += [kind for kind in (operation.query, operation.headers) if kind is not None]
    return [kind for kind in kinds if kind is not None and kind not in (str, bytes)]


def _requests(operation: Operation) -> dict[str, Any]:
    if operation.request is None:
        return {}
    return operation.request if isinstance(operation.request, dict) else {"application/json": operation.request}


def _described(operation: Operation, schema_of: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": _operation_id(operation),
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": [{scheme: []} for scheme in operation.security],
        "responses": {
            str(status): _response(operation, status, kind, schema_of) for status, kind in sorted(_responses(operation).items())
        },
    }
    if operation.deprecated is not None:
        found["deprecated"] = True
    if operation.description:
        found["description"] = operation.description
    parameters = _parameters(operation, schema_of, components)
    if parameters:
        found["parameters"] = parameters
    requests = _requests(operation)
    if requests:
        content = {media: {"schema": _schema(kind, schema_of)} for media, kind in requests.items()}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _responses(operation: Operation) -> dict[int, Any]:
    """Those that are declared, and those that every operation of its kind can have."""
    found = dict(operation.responses)
    common = [500]
    if operation.security:
        common += [401, 403, 503]
    if "token" in operation.security:
        common.append(429)
    if operation.query is not None or operation.path_types or operation.request is not None or operation.security:
        common.append(400)
    if operation.request is not None:
        common += [413, 415, 422]
    for status in common:
        found.setdefault(status, None)
    return found


def _operation_id(operation: Operation) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "_", template(operation.path).replace("/api/v1", "v1")).strip("_")
    return f"{operation.method.lower()}_{words}"


def _response(operation: Operation, status: int, kind: Any, schema_of: dict[Any, Any]) -> dict[str, Any]:
    media: tuple[str, ...]
    found: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    headers = dict(operation.response_headers.get(status, {}))
    if operation.deprecated is not None:
        headers |= dict.fromkeys(operation.deprecated.headers, "This operation will go; see `Link`.")
    if headers:
        found["headers"] = {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}
    if kind is None and status < 400:
        return found
    if kind is None:
        media, kind = ("application/problem+json",), ProblemDocument
    elif isinstance(operation.media, tuple):
        media = operation.media
    else:
        media = (operation.media or ("text/plain" if kind is str else "application/json"),)
    found["content"] = {one: {"schema": _schema(kind, schema_of)} for one in media}
    return found


def _schema(kind: Any, schema_of: dict[Any, Any]) -> dict[str, Any]:
    if kind is bytes:
        return {}
    if kind is str:
        return {"type": "string"}
    if isinstance(kind, tuple):
        return {"anyOf": [schema_of[one] for one in kind]}
    found: dict[str, Any] = schema_of[kind]
    return found


def _parameters(operation: Operation, schema_of: dict[Any, Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    found = [
        {"name": name, "in": "path", "required": True, "schema": _schema(kind, schema_of)}
        for name, kind in operation.path_types.items()
    ]
    for place, kind in (("query", operation.query), ("header", operation.headers)):
        if kind is None:
            continue
        described = components[_component_name(schema_of[kind])]
        for name, schema in described["properties"].items():
            required = name in described["required"]
            found.append({"name": name, "in": place, "required": required, "schema": _without_null(schema)})
    return found


def _component_name(schema: dict[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query string cannot say null: what may be None is a parameter that may be left out."""
    kept = {name: value for name, value in schema.items() if not (name == "default" and value is None)}
    options = [option for option in kept.pop("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        return {**options[0], **kept}
    return {**kept, "anyOf": options} if options else kept


class OpenApi:
    """Serves the document at /openapi.json."""

    operations: ClassVar = (
        Operation("GET", "/openapi.json", "This document", responses={200: bytes}, media="application/json", tag="documents"),
    )

    def __init__(self, built: Callable[[], dict[str, Any]]) -> None:
        self._bytes = cache(lambda: msgspec.json.encode(built()))

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """The same bytes for everybody."""
        answer(response, None)
        response.data = self._bytes()
