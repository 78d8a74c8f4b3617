"""Groups of people and who is in them."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType, field

from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, Page, get, nothing, send, under, versioned

GROUPS = "/api/v1/groups"


class Group(Struct, frozen=True, kw_only=True):
    """A class, a team: `members` of them, and the topics that all of them may read."""

    id: int
    name: str
    description: str = ""
    manager: str | None = None  # their address
    topics: list[str] = field(default_factory=list)
    members: int = 0
    etag: str | None = None  # of `group`, `create_group` and `change_group`: for the next change's `if_match`


class Member(Struct, frozen=True, kw_only=True):
    """Somebody in a group."""

    id: int
    email: str


def page(caller: Caller, *, limit: int = 50, cursor: str | None = None) -> Call[Page[Group]]:
    """A part of all groups for who manages them, of one's own for others."""
    return get(caller, GROUPS, _PAGE, limit=limit, cursor=cursor)


def create(caller: Caller, name: str, description: str = "") -> Call[Group]:
    """An empty group."""
    return send(caller, "POST", GROUPS, _GROUP, {"name": name, "description": description})


def one(caller: Caller, group_id: int) -> Call[Group]:
    """One group."""
    return get(caller, under(GROUPS, group_id), _GROUP)


def change(
    caller: Caller,
    group_id: int,
    *,
    name: str | UnsetType = UNSET,
    description: str | UnsetType = UNSET,
    manager: str | UnsetType | None = UNSET,
    topics: list[str] | UnsetType = UNSET,
    if_match: str | None = None,
) -> Call[Group]:
    """What is left out stays; a manager of None takes the present one away."""
    changes = {"name": name, "description": description, "manager": manager, "topics": topics}
    return send(caller, "PATCH", under(GROUPS, group_id), _GROUP, changes, if_match=if_match)


def delete(caller: Caller, group_id: int, *, if_match: str | None = None) -> Call[None]:
    """Its members stay users."""
    return send(caller, "DELETE", under(GROUPS, group_id), nothing, if_match=if_match)


def members(caller: Caller, group_id: int, *, limit: int = 50, cursor: str | None = None) -> Call[Page[Member]]:
    """A part of who is in a group."""
    return get(caller, under(GROUPS, group_id, "members"), _MEMBERS, limit=limit, cursor=cursor)


def add_member(caller: Caller, group_id: int, email: str) -> Call[Member]:
    """Puts somebody in; they may be in already."""
    return send(caller, "POST", under(GROUPS, group_id, "members"), _MEMBER, {"email": email})


def remove_member(caller: Caller, group_id: int, user_id: int) -> Call[None]:
    """Takes somebody out."""
    return send(caller, "DELETE", under(GROUPS, group_id, "members", user_id), nothing)


class GroupMethods:
    """Of the clients."""

    groups = Method(page)
    create_group = Method(create)
    group = Method(one)
    change_group = Method(change)
    delete_group = Method(delete)
    group_members = Method(members)
    add_group_member = Method(add_member)
    remove_group_member = Method(remove_member)


_PAGE = reader(Page[Group])
_GROUP = versioned(Group)
_MEMBERS = reader(Page[Member])
_MEMBER = reader(Member)
