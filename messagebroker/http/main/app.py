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
from messagebroker.http.main import authority, forgotten, gauges, login, resources, tokens
from messagebroker.http.main.callers import COMPONENTS, Callers
from messagebroker.http.main.certificate_renewals import COMPONENT_PATH
from messagebroker.http.main.rates import Rates
from messagebroker.http.main.waiting import Waiting
from messagebroker.ops import breaker_events, passwords, registry
from messagebroker.ops.delivery_counts import Counter
from messagebroker.ops.identity import Peer
from messagebroker.ops.limits import Shared
from messagebroker.ops.tokens import Tokens
from messagebroker.settings import Settings

OPEN_PATHS = health.PATHS | authority.PATHS | {"/openapi.json", "/docs"}
"""Answered for everybody; nothing here tells of messages, people or clients."""

ANONYMOUS_PATHS = frozenset({login.PATH, tokens.REFRESH_PATH, forgotten.FORGOTTEN_PATH, forgotten.RESET_PATH})
"""Where people show who they are."""


def make(settings: Settings, *, watcher: Watcher, redis: redis_py.Redis, waiting: Waiting | None = None) -> App:
    """The application; the models are bound to a database by then. Without `waiting` no pull waits.

    Raises:
        ConfigurationError: the token secret or the master keys are missing.
    """
    signer = Tokens.load(settings)
    passwords.prepare()
    access = Access(
        watcher=watcher,
        open_paths=OPEN_PATHS,
        components=COMPONENTS,
        certificate_required=False,  # Callers asks for a token instead
        while_stale=_refusal_without_redis(watcher),
    )
    callers = Callers(signer, open_paths=OPEN_PATHS, anonymous_paths=ANONYMOUS_PATHS | {COMPONENT_PATH})
    shared = Shared(redis)
    counter = Counter()
    return make_app(
        "main",
        settings=settings,
        middleware=[access, Rates(shared, settings, open_paths=OPEN_PATHS), callers],
        resources=[
            *resources.of_people(settings, signer, shared),
            *resources.of_messages(settings),
            *resources.of_senders(settings),
            *resources.of_pulls(settings, waiting or Waiting(0), access),
            *resources.of_deliveries(settings, shared),
            *resources.of_queues(redis, counter),
            *resources.of_operations(settings, redis),
        ],
        checks=[("database", _database_problem)],
        warnings=lambda: _warnings(watcher),
        refresh_metrics=lambda: gauges.refresh(redis, settings, counter),
    )


def _warnings(watcher: Watcher) -> list[str]:
    found = [] if watcher.is_fresh() else ["Redis does not answer, or has no policy: no proxy takes messages in"]
    failing = breaker_events.warning()
    return [*found, failing] if failing else found


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
            if peer.serial in registry.revoked_serials():
                return "revoked"
            return registry.refusal_of_client(peer.name) if peer.kind == "client" else None

    return refusal
