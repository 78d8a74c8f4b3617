"""What each role of people may do. One table; whatever it does not say is refused."""

from __future__ import annotations

from enum import StrEnum


class Permission(StrEnum):
    """One thing that a person may be allowed to do."""

    MESSAGES_OWN = "messages.own"  # list and open what one's own clients sent, one's groups' clients, and one's groups' topics
    MESSAGES_LIST = "messages.list"  # everybody's, but for what is sealed
    MESSAGES_OPEN = "messages.open"  # everybody's body, sender and metadata; leaves an audit row each time
    INBOX_OWN = "inbox.own"  # list, open and mark what came into one's own inbox
    MESSAGES_CANCEL = "messages.cancel"  # scheduled ones
    FAILURES_READ = "failures.read"  # what ingest set aside
    FAILURES_RETRY = "failures.retry"
    BREAKERS_READ = "breakers.read"
    BREAKERS_RESET = "breakers.reset"
    QUEUES_READ = "queues.read"  # and which workers run
    QUEUES_MANAGE = "queues.manage"  # pause, resume, purge, reset what is stuck; how much workers do at once
    DEAD_LETTERS_READ = "dead_letters.read"  # failed deliveries, by destination and kind of error
    DEAD_LETTERS_MANAGE = "dead_letters.manage"  # retry, purge, undo
    CLIENTS_OWN = "clients.own"  # read one's own clients and one's groups'; new certificates for one's own
    CLIENTS_READ = "clients.read"
    CLIENTS_MANAGE = "clients.manage"  # register, change, disable
    SUBSCRIPTIONS_OWN = "subscriptions.own"  # see one's own and one's groups'; test, resend and rotate secrets at one's own
    SUBSCRIPTIONS_READ = "subscriptions.read"
    SUBSCRIPTIONS_MANAGE = "subscriptions.manage"  # create, change, remove
    WEBHOOKS_ACT = "webhooks.act"  # test, resend, recover, rotate secrets; disable, enable and replay subscriptions
    NETWORKS_MANAGE = "networks.manage"  # private networks that webhooks may reach
    CERTIFICATES_READ = "certificates.read"
    CERTIFICATES_MANAGE = "certificates.manage"  # issue, renew, revoke
    USERS_READ = "users.read"
    USERS_MANAGE = "users.manage"  # people who may do no more than oneself
    TOPICS_MANAGE = "topics.manage"  # the catalogue: what messages must look like
    GROUPS_MANAGE = "groups.manage"  # every group; a group's manager manages its members without it
    SESSIONS_MANAGE = "sessions.manage"  # see and end other people's
    ANNOUNCEMENTS_MANAGE = "announcements.manage"
    AUDIT_READ = "audit.read"
    SETTINGS_READ = "settings.read"
    STATUS_READ = "status.read"


USER, USER_MANAGER, OPERATOR, ADMIN = "user", "user_manager", "operator", "admin"

_OWN = frozenset({Permission.MESSAGES_OWN, Permission.INBOX_OWN, Permission.CLIENTS_OWN, Permission.SUBSCRIPTIONS_OWN})

PERMISSIONS: dict[str, frozenset[Permission]] = {
    USER: _OWN,
    USER_MANAGER: _OWN | {Permission.USERS_READ, Permission.USERS_MANAGE, Permission.GROUPS_MANAGE, Permission.SESSIONS_MANAGE},
    OPERATOR: _OWN
    | {
        Permission.MESSAGES_LIST,
        Permission.MESSAGES_OPEN,
        Permission.MESSAGES_CANCEL,
        Permission.FAILURES_READ,
        Permission.FAILURES_RETRY,
        Permission.QUEUES_READ,
        Permission.BREAKERS_READ,
        Permission.BREAKERS_RESET,
        Permission.QUEUES_MANAGE,
        Permission.DEAD_LETTERS_READ,
        Permission.DEAD_LETTERS_MANAGE,
        Permission.CLIENTS_READ,
        Permission.SUBSCRIPTIONS_READ,
        Permission.WEBHOOKS_ACT,
        Permission.CERTIFICATES_READ,
        Permission.ANNOUNCEMENTS_MANAGE,
        Permission.SETTINGS_READ,
        Permission.STATUS_READ,
    },
    ADMIN: frozenset(Permission),
}
"""Role -> permissions."""

ROLES = tuple(PERMISSIONS)


def allows(role: str, permission: Permission) -> bool:
    """False too for a role that nobody knows."""
    return permission in PERMISSIONS.get(role, frozenset())


def covers(role: str, other: str) -> bool:
    """Whether somebody in `role` may do all that `other` may: whom one may manage, and whom one may not become."""
    return PERMISSIONS.get(other, frozenset(Permission)) <= PERMISSIONS.get(role, frozenset())
