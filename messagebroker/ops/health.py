"""Whether a role's process is alive and ready, asked from outside it: for `up`, services, containers and tests.

Containers ask every few seconds, so nothing is imported here that a question over HTTP does not need.
"""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path

from messagebroker.roles import BY_NAME, Role
from messagebroker.settings import Settings

SECONDS = 3.0
_HERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "127.0.0.1": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}  # nosec B104 # noqa: S104
"""What servers listen on -> where to ask them: Windows cannot connect to 0.0.0.0, and tries ::1 for localhost first."""


@dataclass(frozen=True)
class Health:
    """One answer."""

    ready: bool
    said: str  # what a person reads when it is not


def address_of(settings: Settings, role: Role) -> str:
    """The URL of a role's server on this machine."""
    host, port = _listens(settings, role)
    host = "localhost" if host in _HERE else f"[{host}]" if ":" in host else host
    return f"{role.scheme}://{host}:{port}"


def check(settings: Settings, name: str, *, pid: int | None = None) -> Health:
    """Asks a role on this machine whether it is ready; a role without a port by its heartbeat (of process `pid` when given)."""
    role = BY_NAME[name]
    if role.health is None:
        from messagebroker.ops import health_by_heartbeat  # loads the database's libraries

        return Health(*health_by_heartbeat.check(settings, name, pid))
    return _by_http(settings, role)


def _listens(settings: Settings, role: Role) -> tuple[str, int]:
    assert role.port_setting, f"{role.name} has no port"
    return getattr(settings, role.port_setting.replace("_port", "_host")), getattr(settings, role.port_setting)


def _by_http(settings: Settings, role: Role) -> Health:
    address = f"{address_of(settings, role)}{role.health}/ready"
    ca = settings.path(settings.certs_dir) / "ca.crt"
    try:
        status, body = _answer(settings, role, ca)
    except ConnectionRefusedError:
        return Health(False, f"{address}: nobody listens there; {role.name} does not run, or not on this machine")
    except FileNotFoundError:
        return Health(False, f"{ca} is missing, so {role.name} cannot be asked; `messagebroker setup` copies it")
    except (OSError, http.client.HTTPException) as error:
        return Health(False, f"{address}: {error or type(error).__name__}")
    if status == 200:
        return Health(True, address)
    return Health(False, f"{address}: {status} {_missing(body)}")


def _answer(settings: Settings, role: Role, ca: Path) -> tuple[int, bytes]:
    context = ssl.create_default_context(cafile=str(ca)) if role.scheme == "https" else None
    host, port = _listens(settings, role)
    connection = http.client.HTTPConnection(_HERE.get(host, host), port, timeout=SECONDS)
    try:
        connection.connect()
        if context is not None:  # every component's certificate is good for localhost, whatever address it listens on
            connection.sock = context.wrap_socket(connection.sock, server_hostname="localhost")
        connection.request("GET", f"{role.health}/ready", headers={"Host": "localhost"})
        answer = connection.getresponse()
        return answer.status, answer.read(65536)
    finally:
        connection.close()


def _missing(body: bytes) -> str:
    """What an answer says that is not ready: each failed check with its reason, or the beginning of the text."""
    text = body.decode(errors="replace")
    try:
        failed = [f"{name}: {reason}" for name, reason in json.loads(text)["checks"].items() if reason != "ok"]
    except (ValueError, TypeError, KeyError, AttributeError):
        return text[:500]
    return "; ".join(failed) or text[:500]
