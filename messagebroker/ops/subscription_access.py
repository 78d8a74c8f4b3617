"""Which subscriptions are a person's own: those that they own, and those of the groups that they are in or manage."""

from __future__ import annotations

from typing import Any

from messagebroker.db import models
from messagebroker.db.models import Group, GroupMember, User

Subscription: Any = models.Subscription


def ranges_of(user: User) -> list[Any]:
    """Conditions whose rows together are the subscriptions that this person may see; each is one range of an index."""
    member: Any = GroupMember.select(GroupMember.group).where(GroupMember.user == user.id).tuples()
    managed: Any = Group.select(Group.id).where(Group.manager == user.id).tuples()
    groups = sorted({row[0] for row in member} | {row[0] for row in managed})
    return [Subscription.owner == user.email, *(Subscription.group == group for group in groups)]


def owns(user: User, row: Any) -> bool:
    """Whether it is this person's, and not just their group's. `row` has `owner`."""
    return row.owner is not None and row.owner == user.email  # MySQL's collation finds `é` for `e` too


def sees(user: User, row: Any) -> bool:
    """Whether it is one of them. `row` has `owner` and `group_id`."""
    if owns(user, row) or row.group_id is None:
        return owns(user, row)
    is_member = GroupMember.select().where((GroupMember.group == row.group_id) & (GroupMember.user == user.id)).exists()
    return bool(is_member or Group.select().where((Group.id == row.group_id) & (Group.manager == user.id)).exists())
