"""The health of a role that has no port: its row in the database, and the servers that it needs."""

from __future__ import annotations

import socket

import peewee as pw

from messagebroker.db import inspection
from messagebroker.db.connection import connected, database, open_database
from messagebroker.db.models import FRESH, Heartbeat
from messagebroker.errors import BrokerError
from messagebroker.ops import redis_client
from messagebroker.settings import Settings

SECONDS = 3.0


def check(settings: Settings, name: str, pid: int | None) -> tuple[bool, str]:
    """Whether a process of the role beats on this machine (process `pid` when given), and what to tell."""
    host = socket.gethostname()
    own = (Heartbeat.role == name) & (Heartbeat.host == host[:255])
    if pid is not None:
        own &= Heartbeat.pid == pid
    try:
        if database.obj is None:
            _open(settings)
        with connected():
            alive = Heartbeat.select().where(own, Heartbeat.seen_at > inspection.clock() - FRESH).exists()
    except (BrokerError, pw.PeeweeException) as error:
        return False, f"{name}: the database does not answer: {error}"
    if not alive:
        return False, f"{name}: no heartbeat from {host} in the last {FRESH.seconds} s"
    with redis_client.connect(settings, read_timeout=SECONDS) as client:
        missing = redis_client.redis_answers(client)
    return missing is None, f"{name}: {missing or f'a heartbeat from {host} in the last {FRESH.seconds} s'}"


def _open(settings: Settings) -> None:
    opened = open_database(settings)
    if isinstance(opened, pw.MySQLDatabase):  # a server that is stopped in mid-air takes connections and says nothing
        opened.connect_params |= {"connect_timeout": SECONDS, "read_timeout": SECONDS}
