"""Whether a role's process is alive and ready, asked from outside it: for `up`, services, containers and tests."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import peewee as pw

from messagebroker.db.connection import connected, database, open_database
from messagebroker.db.models import Heartbeat
from messagebroker.errors import BrokerError
from messagebroker.ops import clock
from messagebroker.roles import BY_NAME, Role
from messagebroker.settings import Settings

SECONDS = 3.0
HEARTBEAT_FRESH = timedelta(seconds=15)


@dataclass(frozen=True)
class Health:
    """One answer."""

    ready: bool
    said: str  # what a person reads when it is not


def address_of(settings: Settings, role: Role) -> str:
    """The URL of a role's server on this machine."""
    assert role.port_setting, f"{role.name} has no port"
    if role.port_setting == "metrics_port":
        return f"{role.scheme}://{settings.metrics_host}:{settings.metrics_port}"
    return f"{role.scheme}://localhost:{getattr(settings, role.port_setting)}"


def check(settings: Settings, name: str, *, pid: int | None = None) -> Health:
    """Asks a role on this machine whether it is ready; a role without a port by its heartbeat (of process `pid` when given)."""
    role = BY_NAME[name]
    if role.health is None:
        return _by_heartbeat(settings, name, pid)
    return _by_http(settings, address_of(settings, role), f"{role.health}/ready")


def _by_http(settings: Settings, address: str, path: str) -> Health:
    url = urlsplit(address)
    connection: http.client.HTTPConnection
    try:
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=str(settings.path(settings.certs_dir) / "ca.crt"))
            connection = http.client.HTTPSConnection(url.hostname or "", url.port, timeout=SECONDS, context=context)
        else:
            connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read(4096).decode(errors="replace")
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        return Health(False, f"{address}{path}: {error}")
    return Health(answer.status == 200, f"{address}{path}: {answer.status} {text}")


def _by_heartbeat(settings: Settings, name: str, pid: int | None) -> Health:
    fresh = (Heartbeat.role == name) & (Heartbeat.seen_at > clock.now() - HEARTBEAT_FRESH)
    if pid is not None:
        fresh &= Heartbeat.pid == pid
    try:
        if database.obj is None:
            open_database(settings)
        with connected():
            alive = Heartbeat.select().where(fresh).exists()
    except (BrokerError, pw.PeeweeException) as error:
        return Health(False, str(error))
    return Health(alive, f"{name}: {'a' if alive else 'no'} heartbeat in the last {HEARTBEAT_FRESH.seconds} s")
