"""Who is in a group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.db.models import User
from messagebroker.errors import NotFound
from messagebroker.ops import audit, clock, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change, locked
from messagebroker.ops.groups import NO_USER
from messagebroker.ops.names import is_email

Group: Any = models.Group  # the stubs of peewee know no columns
GroupMember: Any = models.GroupMember


def add_member(group_id: int, email: str, *, actor: Actor, check: Callable[[User], None] | None = None) -> User:
    """Puts a user in; they may be in already. `check` sees them before, while nobody else changes the group, and may raise.

    Raises:
        NotFound: there is no such group; or no such user, which leaves an audit row: somebody may be trying addresses.
    """
    with change():
        group = _group(group_id)
        user = next(iter(users.of_address(email)), None)
        if user is None:
            details = {"name": group.name, "address": email.strip() if is_email(email.strip()) else "no address"}
            audit.record_by(actor, "group.add-member-refused", "group", str(group_id), details)
        else:
            if check is not None:
                check(user)
            if not _membership(group_id, user.id).exists():
                GroupMember.insert(group=group_id, user=user.id, added_at=clock.now()).execute()
                named = {"name": group.name, "user": user.email}
                audit.record_by(actor, "group.add-member", "group", str(group_id), named)
    if user is None:
        raise NotFound(NO_USER)
    return user


def remove_member(group_id: int, user_id: int, *, actor: Actor) -> None:
    """Takes a user out.

    Raises:
        NotFound: there is no such group, or they are not in it.
    """
    with change():
        group = _group(group_id)
        user = User.get_or_none(User.id == user_id)
        removed = GroupMember.delete().where(GroupMember.group == group_id, GroupMember.user == user_id).execute()
        if user is None or not removed:
            raise NotFound("they are not in this group")
        audit.record_by(actor, "group.remove-member", "group", str(group_id), {"name": group.name, "user": user.email})


def page(group_id: int, *, limit: int, after: int | None = None) -> list[User]:
    """Up to `limit` members in the order of their numbers, after the user `after`."""
    query = GroupMember.select(GroupMember.user).where(GroupMember.group == group_id, GroupMember.user > (after or 0))
    with connected():
        wanted = [row[0] for row in query.order_by(GroupMember.user).limit(limit).tuples()]  # of the table's key alone
        return list(User.select().where(User.id.in_(wanted)).order_by(User.id)) if wanted else []


def is_member(group_id: int, user_id: int) -> bool:
    """Whether they are in it; its manager need not be."""
    with connected():
        return bool(_membership(group_id, user_id).exists())


def _membership(group_id: int, user_id: int) -> Any:
    return GroupMember.select().where(GroupMember.group == group_id, GroupMember.user == user_id)


def _group(group_id: int) -> Any:
    """Locked, so that two who add the same user come one after the other."""
    group = locked(Group.select().where(Group.id == group_id)).first()
    if group is None:
        raise NotFound("there is no such group")
    return group
