"""Which clients are a person's own: those that they own, and those of the groups that they are in or manage."""

from __future__ import annotations

from typing import Any

from messagebroker.db.models import Client, Group, GroupMember, User


def ranges_of(user: User) -> list[Any]:
    """Conditions whose rows together are the clients that this person may see; each is one range of an index."""
    member: Any = GroupMember.select(GroupMember.group).where(GroupMember.user == user.id).tuples()
    managed: Any = Group.select(Group.id).where(Group.manager == user.id).tuples()
    groups = sorted({row[0] for row in member} | {row[0] for row in managed})
    return [Client.owner == user.email, *(Client.group == group for group in groups)]


def sees(user: User, row: Client) -> bool:
    """Whether it is one of them."""
    if owns(user, row):
        return True
    if row.group_id is None:
        return False
    is_member = GroupMember.select().where((GroupMember.group == row.group_id) & (GroupMember.user == user.id)).exists()
    return bool(is_member or Group.select().where((Group.id == row.group_id) & (Group.manager == user.id)).exists())


def owns(user: User, row: Client) -> bool:
    """Whether the client is this person's, and not just their group's."""
    return row.owner is not None and row.owner == user.email


__all__ = ["owns", "ranges_of", "sees"]
