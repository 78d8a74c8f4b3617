"""The Falcon application of main."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis as redis_py

from messagebroker.actors import ops as jobs
from messagebroker.db import schema
from messagebroker.db.connection import connected
from messagebroker.errors import BrokerError
from messagebroker.http import health
from messagebroker.http.access import Access, Watcher
from messagebroker.http.application import App, make_app
from messagebroker.http.main import authority, forgotten, gauges, login, tokens
from messagebroker.http.main.announcements import Announcements, OneAnnouncement
from messagebroker.http.main.audit_log import AuditExport, AuditLog
from messagebroker.http.main.authority import CaCertificate, RevocationList
from messagebroker.http.main.callers import COMPONENTS, Callers
from messagebroker.http.main.cancelling import CancelMessage
from messagebroker.http.main.certificate import OneCertificate, RenewedCertificate, RevokedCertificate, RevokedClient
from messagebroker.http.main.certificate_renewals import COMPONENT_PATH, ClientRenewals, ComponentRenewals
from messagebroker.http.main.certificates import Bundles, Certificates
from messagebroker.http.main.client import DisabledClient, EnabledClient, OneClient
from messagebroker.http.main.clients import Clients
from messagebroker.http.main.counts import Counts
from messagebroker.http.main.failures import Failures, OneFailure, RetryFailure
from messagebroker.http.main.forgotten import Forgotten, Reset
from messagebroker.http.main.group_members import GroupMember, GroupMembers
from messagebroker.http.main.groups import Groups, OneGroup
from messagebroker.http.main.login import Login
from messagebroker.http.main.me import Me
from messagebroker.http.main.message import MessageBody, OneMessage
from messagebroker.http.main.messages import Messages
from messagebroker.http.main.password import Password
from messagebroker.http.main.queue_stats import QueueStats
from messagebroker.http.main.rates import Rates
from messagebroker.http.main.second_factor import ConfirmSecondFactor, MySecondFactor, NewRecoveryCodes, RemoveSecondFactor
from messagebroker.http.main.sessions import MySession, MySessions, UserSession, UserSessions
from messagebroker.http.main.system import EffectiveSettings, SystemStatus
from messagebroker.http.main.tokens import Logout, Refresh
from messagebroker.http.main.users import OneUser, UserPassword, Users, UserSecondFactor
from messagebroker.ops import passwords, registry, sessions
from messagebroker.ops.identity import Peer
from messagebroker.ops.limits import Shared
from messagebroker.ops.lockout import Lockout
from messagebroker.ops.opening import Opener
from messagebroker.ops.second_factor import SecondFactor
from messagebroker.ops.tokens import Tokens
from messagebroker.settings import Settings

OPEN_PATHS = health.PATHS | authority.PATHS | {"/openapi.json", "/docs"}
"""Answered for everybody; nothing here tells of messages, people or clients."""

ANONYMOUS_PATHS = frozenset({login.PATH, tokens.REFRESH_PATH, forgotten.FORGOTTEN_PATH, forgotten.RESET_PATH})
"""Where people show who they are."""


def make(settings: Settings, *, watcher: Watcher, redis: redis_py.Redis) -> App:
    """The application; the models are bound to a database by then.

    Raises:
        ConfigurationError: the token secret or the master keys are missing.
    """
    signer, opener = Tokens.load(settings), Opener(settings)
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
    return make_app(
        "main",
        settings=settings,
        middleware=[access, Rates(shared, settings, open_paths=OPEN_PATHS), callers],
        resources=[
            *_people(settings, signer, shared),
            Me(),
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
            AuditExport(),
            *_senders(settings),
            CaCertificate(settings),
            RevocationList(settings),
        ],
        checks=[("database", _database_problem)],
        refresh_metrics=lambda: gauges.refresh(redis),
        warnings=lambda: [] if watcher.is_fresh() else ["Redis does not answer, or has no policy: no proxy takes messages in"],
    )


def _nobody_is_known(account: str, address: str) -> bool:
    return False


def _people(settings: Settings, signer: Tokens, shared: Shared) -> list[object]:
    """Logging in and out, users, groups."""
    second = SecondFactor(settings)
    at_login = Lockout(shared, "login", sessions.came_from)
    inside, by_mail, with_token = (Lockout(shared, purpose, _nobody_is_known) for purpose in ("inside", "forgotten", "reset"))
    return [
        Login(signer, at_login, second),
        Refresh(signer),
        Logout(),
        Password(signer, inside),
        Forgotten(settings, by_mail, jobs.mail_password_reset.send),
        Reset(with_token, at_login),
        MySecondFactor(second, inside),
        ConfirmSecondFactor(second, inside),
        RemoveSecondFactor(second, inside),
        NewRecoveryCodes(second, inside),
        MySessions(),
        MySession(),
        Users(),
        OneUser(),
        UserPassword(),
        UserSecondFactor(),
        UserSessions(),
        UserSession(),
        Groups(),
        OneGroup(),
        GroupMembers(),
        GroupMember(),
    ]


def _senders(settings: Settings) -> list[Any]:
    """Clients and their certificates."""
    return [
        Clients(settings),
        OneClient(settings),
        DisabledClient(settings),
        EnabledClient(settings),
        RevokedClient(settings),
        Certificates(settings),
        Bundles(settings),
        OneCertificate(settings),
        RenewedCertificate(settings),
        RevokedCertificate(settings),
        ClientRenewals(settings),
        ComponentRenewals(settings),
    ]


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
