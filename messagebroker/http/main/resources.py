"""The resources of main's application, a list for each area; what each does is in the file of its name."""

from __future__ import annotations

from typing import Any

import redis as redis_py

from messagebroker.actors import ops as jobs
from messagebroker.http.main.allowed_networks import AllowedNetworks, DisallowedNetwork
from messagebroker.http.main.announcements import Announcements, OneAnnouncement
from messagebroker.http.main.audit_log import AuditExport, AuditLog
from messagebroker.http.main.authority import CaCertificate, RevocationList
from messagebroker.http.main.breakers import BreakerEvents, Breakers, ResetBreaker
from messagebroker.http.main.cancelling import CancelMessage
from messagebroker.http.main.certificate import OneCertificate, RenewedCertificate, RevokedCertificate, RevokedClient
from messagebroker.http.main.certificate_renewals import ClientRenewals, ComponentRenewals
from messagebroker.http.main.certificates import Bundles, Certificates
from messagebroker.http.main.client import DisabledClient, EnabledClient, OneClient
from messagebroker.http.main.clients import Clients
from messagebroker.http.main.counts import Counts
from messagebroker.http.main.dead_letter_moves import (
    DeadLetterMoves,
    OneDeadLetterMove,
    PreviewDeadLetters,
    PurgeDeadLetters,
    RetryDeadLetters,
    UndoneDeadLetterMove,
)
from messagebroker.http.main.dead_letters import DeadLetterGroups, DeadLetters
from messagebroker.http.main.failures import Failures, OneFailure, RetryFailure
from messagebroker.http.main.forgotten import Forgotten, Reset
from messagebroker.http.main.group_members import GroupMember, GroupMembers
from messagebroker.http.main.groups import Groups, OneGroup
from messagebroker.http.main.inbox import Inbox, InboxItem, ReadAll, ReadItem, UnreadCount, UnreadItem
from messagebroker.http.main.login import Login
from messagebroker.http.main.me import Me
from messagebroker.http.main.message import MessageBody, OneMessage
from messagebroker.http.main.messages import Messages
from messagebroker.http.main.password import Password
from messagebroker.http.main.pulls import Acknowledge, Extend, GiveBack, Judge, Pull
from messagebroker.http.main.queue_controls import PausedQueue, PurgedQueue, ResetStuck, ResumedQueue
from messagebroker.http.main.queue_drain import DrainedQueue
from messagebroker.http.main.queue_peek import Peek
from messagebroker.http.main.queue_stats import QueueStats
from messagebroker.http.main.second_factor import ConfirmSecondFactor, MySecondFactor, NewRecoveryCodes, RemoveSecondFactor
from messagebroker.http.main.sessions import MySession, MySessions, UserSession, UserSessions
from messagebroker.http.main.subscription import DisabledSubscription, EnabledSubscription, OneSubscription
from messagebroker.http.main.subscription_replay import ReplayedSubscription
from messagebroker.http.main.subscriptions import Subscriptions
from messagebroker.http.main.system import EffectiveSettings, SystemStatus
from messagebroker.http.main.timeline import MessageTimeline
from messagebroker.http.main.tokens import Logout, Refresh
from messagebroker.http.main.topics import OneTopic, Topics
from messagebroker.http.main.users import OneUser, UserPassword, Users, UserSecondFactor
from messagebroker.http.main.waiting import Waiting
from messagebroker.http.main.webhook_acts import RecoverWebhook, ResendWebhook, RotateSecret, TestWebhook
from messagebroker.http.main.webhooks import OneWebhook, WebhookLogs, Webhooks
from messagebroker.http.main.workers import Concurrency, Workers
from messagebroker.ops import sessions
from messagebroker.ops.deliveries.opening import Payloads
from messagebroker.ops.delivery_counts import Counter
from messagebroker.ops.limits import Shared
from messagebroker.ops.lockout import ACCOUNT, ADDRESS, PAIR, Lockout
from messagebroker.ops.login_lockout import LoginLockout
from messagebroker.ops.opening import Opener
from messagebroker.ops.second_factor import SecondFactor
from messagebroker.ops.tokens import Tokens
from messagebroker.settings import Settings


def of_people(settings: Settings, signer: Tokens, shared: Shared) -> list[Any]:
    """Logging in and out, users, sessions, groups."""
    second = SecondFactor(settings)
    at_login = LoginLockout(shared, sessions.came_from)
    inside = Lockout(shared, "inside", scopes=(PAIR, ACCOUNT))  # a token says whose account it is: nobody tries many
    by_mail = Lockout(shared, "forgotten", scopes=(ADDRESS,))
    return [
        Login(signer, at_login, second),
        Refresh(signer),
        Logout(),
        Me(),
        Password(signer, inside),
        Forgotten(settings, by_mail, jobs.mail_password_reset.send),
        Reset(at_login),
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
        GroupMembers(Lockout(shared, "group-members", scopes=(ACCOUNT,))),
        GroupMember(),
    ]


def of_senders(settings: Settings) -> list[Any]:
    """Clients, their certificates, and the topics that they send to."""
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
        Topics(settings),
        OneTopic(settings),
    ]


def of_messages(settings: Settings) -> list[Any]:
    """What is stored, what could not be, and what came into inboxes."""
    opener = Opener(settings)
    return [
        Messages(settings),
        OneMessage(opener),
        MessageBody(opener),
        MessageTimeline(),
        Counts(),
        CancelMessage(),
        Failures(),
        OneFailure(),
        RetryFailure(settings),
        Inbox(),
        InboxItem(opener),
        UnreadCount(),
        ReadItem(),
        UnreadItem(),
        ReadAll(),
    ]


def of_deliveries(settings: Settings, shared: Shared) -> list[Any]:
    """Who gets which messages, and how that goes."""
    return [
        Subscriptions(settings),
        OneSubscription(settings),
        DisabledSubscription(),
        EnabledSubscription(),
        ReplayedSubscription(settings),
        Webhooks(),
        OneWebhook(),
        WebhookLogs(settings),
        TestWebhook(settings, shared),
        ResendWebhook(),
        RecoverWebhook(),
        RotateSecret(settings),
        AllowedNetworks(),
        DisallowedNetwork(),
        DeadLetterGroups(),
        DeadLetters(),
        PreviewDeadLetters(),
        RetryDeadLetters(),
        PurgeDeadLetters(),
        DeadLetterMoves(),
        OneDeadLetterMove(),
        UndoneDeadLetterMove(),
    ]


def of_queues(redis: redis_py.Redis, counter: Counter) -> list[Any]:
    """What waits, who works, and an operator's hand on both."""
    return [
        QueueStats(redis, counter),
        Peek(redis),
        PausedQueue(),
        ResumedQueue(),
        DrainedQueue(redis),
        PurgedQueue(redis),
        ResetStuck(),
        Workers(),
        Concurrency(),
    ]


def of_pulls(settings: Settings, waiting: Waiting, judge: Judge) -> list[Any]:
    """What clients take by themselves."""
    return [Pull(Payloads(settings), waiting, judge), Acknowledge(), Extend(), GiveBack()]


def of_operations(settings: Settings, redis: redis_py.Redis) -> list[Any]:
    """The system itself: its state, its settings, its log, its CA, what is announced."""
    return [
        Announcements(),
        OneAnnouncement(),
        EffectiveSettings(settings),
        SystemStatus(settings, redis),
        Breakers(redis),
        BreakerEvents(),
        ResetBreaker(redis),
        AuditLog(),
        AuditExport(),
        CaCertificate(settings),
        RevocationList(settings),
    ]
