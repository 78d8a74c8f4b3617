"""What main's /metrics says about others: the queues, and the roles that have no port or may all be down."""

from __future__ import annotations

import redis as redis_py

from messagebroker.actors.worker_checks import observe_queues
from messagebroker.db.connection import connected
from messagebroker.errors import BrokerError
from messagebroker.ops import certificate_warnings, heartbeats, sessions
from messagebroker.ops.metrics import CERTIFICATE_EXPIRES, LEADERS, PROCESSES, SESSIONS_ACTIVE
from messagebroker.roles import ROLES
from messagebroker.settings import WITH_DATABASE, Settings


def refresh(redis: redis_py.Redis, settings: Settings) -> None:
    """Brings the gauges up to date; who cannot be counted is left out, not shown as it was."""
    observe_queues(redis)
    PROCESSES.clear()
    LEADERS.clear()
    CERTIFICATE_EXPIRES.clear()
    try:
        found = heartbeats.alive()
        SESSIONS_ACTIVE.set(sessions.count_active())
        with connected():
            certificate_warnings.show(settings)
    except BrokerError:
        return  # main's readiness says that the database is away
    for role in (role.name for role in ROLES if role.name in WITH_DATABASE):
        PROCESSES.labels(role).set(found.get(role, heartbeats.Alive()).processes)
    LEADERS.labels("scheduler").set(found.get("scheduler", heartbeats.Alive()).leaders)
