"""What people see who may not list everybody's messages: those of their clients, groups, and groups' topics."""

from __future__ import annotations

from dataclasses import dataclass

from messagebroker.db.connection import connected
from messagebroker.db.models import Client, Group, GroupMember, GroupTopic, User


@dataclass(frozen=True)
class Scope:
    """Messages of these clients, and messages on these topics."""

    clients: frozenset[str]
    topics: frozenset[str]

    def includes(self, client: str, topic: str) -> bool:
        """Whether a message of this client on this topic is inside."""
        return client in self.clients or topic in self.topics


def scope_of(user: User) -> Scope:
    """As the database has it now: who leaves a group sees nothing of it from the next request on."""
    with connected():
        groups = groups_of(user)
        found = Client.select(Client.name, Client.owner, Client.group)
        theirs = found.where(Client.owner == user.email)
        # MySQL's collation finds `é` for `e` too, and an address must be the very same
        clients = {client.name for client in theirs if client.owner == user.email}
        if groups:
            clients |= {client.name for client in found.where(Client.group.in_(groups))}
        topics = {row.topic for row in GroupTopic.select().where(GroupTopic.group.in_(groups))} if groups else set()
    return Scope(frozenset(clients), frozenset(topics))


def scope_of_group(group_id: int) -> Scope:
    """What belonging to a group lets people see."""
    with connected():
        clients = {client.name for client in Client.select(Client.name).where(Client.group == group_id)}
        topics = {row.topic for row in GroupTopic.select().where(GroupTopic.group == group_id)}
    return Scope(frozenset(clients), frozenset(topics))


def groups_of(user: User) -> list[int]:
    """Ids of the groups that the person is in or manages."""
    joined = GroupMember.select(GroupMember.group).where(GroupMember.user == user.id)
    found = Group.select(Group.id).where((Group.manager == user.id) | Group.id.in_(joined))
    with connected():
        return [group.id for group in found]
