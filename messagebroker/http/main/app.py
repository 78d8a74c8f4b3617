"""The Falcon application of main."""

from __future__ import annotations

from collections.abc import Callable

import redis as redis_py

from messagebroker.db import schema
from messagebroker.db.connection import connected
from messagebroker.errors import BrokerError
from messagebroker.http import health
from messagebroker.http.access import Access, Watcher
from messagebroker.http.application import App, make_app
from messagebroker.http.main import authority, gauges, login
from messagebroker.http.main.announcements import Announcements, OneAnnouncement
from messagebroker.http.main.audit_log import AuditLog
from messagebroker.http.main.authority import CaCertificate, RevocationList
from messagebroker.http.main.callers import COMPONENTS, Callers
from messagebroker.http.main.cancelling import CancelMessage
from messagebroker.http.main.clients import Clients
from messagebroker.http.main.counts import Counts
from messagebroker.http.main.failures import Failures, OneFailure, RetryFailure
from messagebroker.http.main.login import Login
from messagebroker.http.main.me import Me
from messagebroker.http.main.message import MessageBody, OneMessage
from messagebroker.http.main.messages import Messages
from messagebroker.http.main.password import Password
from messagebroker.http.main.queue_stats import QueueStats
from messagebroker.http.main.system import EffectiveSettings, SystemStatus
from messagebroker.ops import passwords, registry
from messagebroker.ops.identity import Peer
from messagebroker.ops.opening import Opener
from messagebroker.ops.tokens import Tokens
from messagebroker.settings import Settings

OPEN_PATHS = health.PATHS | authority.PATHS | {"/openapi.json", "/docs"}
"""Answered for everybody; nothing here tells of messages, people or clients."""


def make(settings: Settings, *, watcher: Watcher, redis: redis_py.Redis) -> App:
    """The application; the models are bound to a database by then.

    Raises:
        ConfigurationError: the token secret or the master keys are missing.
    """
    tokens, opener = Tokens.load(settings), Opener(settings)
    passwords.prepare()
    access = Access(
        watcher=watcher,
        open_paths=OPEN_PATHS,
        components=COMPONENTS,
        certificate_required=False,  # Callers asks for a token instead
        while_stale=_refusal_without_redis(watcher),
    )
    callers = Callers(tokens, open_paths=OPEN_PATHS, anonymous_paths=frozenset({login.PATH}))
    return make_app(
        "main",
        settings=settings,
        middleware=[access, callers],
        resources=[
            Login(tokens),
            Me(),
            Password(tokens),
            Messages(settings),
            OneMessage(opener),
            MessageBody(opener),
            Counts(),
            CancelMessage(),
            Failures(),
            OneFailure(),
            RetryFailure(),
            Announcements(),
            OneAnnouncement(),
            EffectiveSettings(settings),
            SystemStatus(settings, redis),
            QueueStats(redis),
            AuditLog(),
            Clients(),
            CaCertificate(settings),
            RevocationList(settings),
        ],
        checks=[("database", _database_problem)],
        refresh_metrics=lambda: gauges.refresh(redis),
        warnings=lambda: [] if watcher.is_fresh() else ["Redis does not answer, or has no policy: no proxy takes messages in"],
    )


def _database_problem() -> str | None:
    try:
        return None if schema.status().is_current else "its schema is not this program's; see `messagebroker db status`"
    except BrokerError:
        return "does not answer"


def _refusal_without_redis(watcher: Watcher) -> Callable[[Peer], str | None]:
    """Operators need main most while Redis is down: then the last policy and the database judge, which main may read."""

    def refusal(peer: Peer) -> str | None:
        known = watcher.refusal(peer)
        if known in ("revoked", "expired"):
            return known
        with connected():
            return "revoked" if peer.serial in registry.revoked_serials() else None

    return refusal
