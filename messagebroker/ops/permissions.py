"""What each role of people may do. One table; whatever it does not say is refused."""

from __future__ import annotations

from enum import StrEnum


class Permission(StrEnum):
    """One thing that a person may be allowed to do."""

    MESSAGES_LIST = "messages.list"  # everything but what is sealed
    MESSAGES_OPEN = "messages.open"  # body, sender and metadata; leaves an audit row each time
    QUEUES_READ = "queues.read"
    CLIENTS_READ = "clients.read"
    USERS_MANAGE = "users.manage"
    AUDIT_READ = "audit.read"


USER, USER_MANAGER, OPERATOR, ADMIN = "user", "user_manager", "operator", "admin"

PERMISSIONS: dict[str, frozenset[Permission]] = {
    USER: frozenset({Permission.MESSAGES_LIST}),
    USER_MANAGER: frozenset({Permission.USERS_MANAGE}),
    OPERATOR: frozenset({Permission.MESSAGES_LIST, Permission.MESSAGES_OPEN, Permission.QUEUES_READ, Permission.CLIENTS_READ}),
    ADMIN: frozenset(Permission),
}
"""Role -> permissions."""

ROLES = tuple(PERMISSIONS)


def allows(role: str, permission: Permission) -> bool:
    """False too for a role that nobody knows."""
    return permission in PERMISSIONS.get(role, frozenset())
