"""Loaded by schemathesis itself (SCHEMATHESIS_HOOKS): objects that are there, what must be left alone, sessions.

`MESSAGEBROKER_OBJECTS`: JSON, the values of parameters. A key is a parameter's name, or more exactly `METHOD name`,
`resource.name` or `METHOD resource.name`; `resource` is what follows `/api/v1/` in the path.
`MESSAGEBROKER_SPARED`: JSON, values of parameters that only GETs may have: schemathesis takes values from answers, too, and
would end its own session with the number that the list of sessions tells.
`MESSAGEBROKER_LOGIN`: JSON, `url`, `ca`, and the `body` of a login that is made before each request.
"""

from __future__ import annotations

import json
import os
import ssl
from typing import Any

import httpx
import schemathesis

OBJECTS: dict[str, Any] = json.loads(os.environ.get("MESSAGEBROKER_OBJECTS", "{}"))
SPARED: dict[str, str] = json.loads(os.environ.get("MESSAGEBROKER_SPARED", "{}"))
NONE = {"session_id": "00000000-0000-7000-8000-000000000000", "user_id": "999999999"}
LOGIN: dict[str, Any] = json.loads(os.environ.get("MESSAGEBROKER_LOGIN", "{}"))


@schemathesis.hook  # type: ignore[untyped-decorator]
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Gives parameters that name an object one that is there, as their example."""
    for path, methods in raw_schema["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", ()):
                value = _object(method.upper(), path, parameter)
                if value is not None:
                    parameter["example"] = value


def _object(method: str, path: str, parameter: dict[str, Any]) -> Any:
    if parameter["in"] not in ("path", "query"):
        return None
    name, resource = parameter["name"], path.removeprefix("/api/v1/").partition("/")[0]
    keys = (f"{method} {resource}.{name}", f"{resource}.{name}", f"{method} {name}", name)
    return next((OBJECTS[key] for key in keys if key in OBJECTS), None)


if SPARED:

    @schemathesis.hook("before_call")  # type: ignore[untyped-decorator]
    def spare(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
        """Another one, which is not there, in place of what must stay."""
        for name, value in SPARED.items():
            if case.method != "GET" and str((case.path_parameters or {}).get(name)) == value:
                case.path_parameters[name] = NONE[name]


if LOGIN:

    @schemathesis.hook  # type: ignore[untyped-decorator]
    def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
        """A session of its own for each request."""
        with httpx.Client(verify=ssl.create_default_context(cafile=LOGIN["ca"]), trust_env=False) as http:
            answer = http.post(LOGIN["url"], json=LOGIN["body"])
            answer.raise_for_status()
        case.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
