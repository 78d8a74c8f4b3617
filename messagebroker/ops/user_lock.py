"""The lock on a person: first of all locks, for whoever changes sessions, mailed codes or the person."""

from __future__ import annotations

from messagebroker.db.models import User
from messagebroker.ops.changes import locked


def locked_user(user_id: int) -> User | None:
    """The user as they are until the transaction ends; None when there is none.

    Sessions and codes are locked after this one: their foreign key locks the user too, when they are inserted and when a
    column of an index changes that begins with the user, so that the other order would be a deadlock.
    """
    found: User | None = locked(User.select().where(User.id == user_id)).first()
    return found
