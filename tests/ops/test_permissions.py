from __future__ import annotations

from messagebroker.ops.permissions import PERMISSIONS, ROLES, Permission, allows


def test_the_table() -> None:
    assert ROLES == ("user", "user_manager", "operator", "admin")
    assert {role for role in ROLES if allows(role, Permission.MESSAGES_OPEN)} == {"operator", "admin"}
    assert {role for role in ROLES if allows(role, Permission.USERS_MANAGE)} == {"user_manager", "admin"}
    assert {role for role in ROLES if allows(role, Permission.AUDIT_READ)} == {"admin"}
    assert PERMISSIONS["admin"] == frozenset(Permission)


def test_nobody_knows_this_role() -> None:
    assert not any(allows("root", permission) for permission in Permission)
    assert not any(allows("", permission) for permission in Permission)
