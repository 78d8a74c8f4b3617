"""Passwords as the database keeps them. Hashing takes long, so whoever stores a hash looks at the person once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.db.models import User
from messagebroker.errors import NotFound
from messagebroker.ops import audit, sessions
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change
from messagebroker.ops.metrics import PASSWORD_CHANGES
from messagebroker.ops.sessions import Overtaken, Why
from messagebroker.ops.user_lock import locked_user

PasswordReset: Any = models.PasswordReset  # the stubs of peewee know no columns


def store(
    user: User,
    stored: str,
    *,
    must_change: bool,
    actor: Actor,
    action: str,
    knowing: str | None = None,
    check: Callable[[User], None] | None = None,
) -> User:
    """Sets a password by its hash, and ends the user's sessions and mailed codes; the user as they are then.

    Args:
        user: as they were before.
        stored: the hash.
        must_change: at the next login.
        actor: who does it.
        action: for the audit log.
        knowing: the hash of the password that allows this one; a reset, which needs none, wins over such a change.
        check: sees the user as they are, while nobody else can change them, and may raise.

    Raises:
        NotFound: there is no such user any more.
        Overtaken: the password is not the one of `knowing` any more, or its owner was disabled.
    """
    with change():
        found = locked_user(user.id)
        if found is None:
            raise NotFound("there is no such user")
        if knowing is not None and (found.password_hash != knowing or found.disabled_at is not None):
            raise Overtaken("somebody else changed this password, or disabled the user, at the same time")
        if check is not None:
            check(found)
        found.password_hash, found.must_change_password = stored, must_change
        found.save(only=[User.password_hash, User.must_change_password])
        audit.record_by(actor, action, "user", found.email)
        sessions.end_all(found, Why.PASSWORD, actor)
        void_codes(found)
    PASSWORD_CHANGES.labels(action.removeprefix("user.")).inc()
    return found


def renew(user: User, stored: str) -> bool:
    """Puts another hash of the same password in place of an outdated one; False when somebody stored one meanwhile."""
    with connected():
        renewed = (
            User.update(password_hash=stored).where(User.id == user.id, User.password_hash == user.password_hash).execute()
        )
    return bool(renewed)


def void_codes(user: User) -> None:
    """Of forgotten passwords, mailed and not used yet."""
    PasswordReset.delete().where(PasswordReset.user == user.id, PasswordReset.used_at.is_null()).execute()
