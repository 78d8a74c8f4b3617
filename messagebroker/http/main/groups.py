"""/api/v1/groups: people who belong together. Who manages all groups sees and changes all; others see their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.db.models import User
from messagebroker.errors import Refused
from messagebroker.http.decoding import answer, read_json, read_query
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.etags import DESCRIBED, require_match, set_etag
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.main.people import number
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import cursors, group_members, groups, inbox
from messagebroker.ops.groups import LONGEST_DESCRIPTION, LONGEST_NAME, MOST_TOPICS, Details
from messagebroker.ops.names import TOPIC
from messagebroker.ops.permissions import Permission
from messagebroker.ops.scope import groups_of, scope_of, scope_of_group

PATH = "/api/v1/groups"
ONE = PATH + "/{group_id}"
GroupId = Annotated[int, msgspec.Meta(ge=1)]
MANAGE = Permission.GROUPS_MANAGE
OWN = Permission.MESSAGES_OWN  # what a group is for: reading what belongs to it

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]
Description = Annotated[str, msgspec.Meta(max_length=LONGEST_DESCRIPTION)]
Topic = Annotated[str, msgspec.Meta(pattern=TOPIC)]


class GroupQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How much, from where on."""

    limit: Limit = 50
    cursor: Cursor | None = None


class GroupView(msgspec.Struct, kw_only=True):
    """A group. `manager`: an address; `members`: how many; `topics`: what all of them may read."""

    id: int
    name: str
    description: str
    manager: str | None
    topics: list[str]
    members: int


class GroupPage(msgspec.Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[GroupView]
    next: str | None


class NewGroup(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An empty group; PATCH gives it a manager and topics."""

    name: Name
    description: Description = ""


class GroupChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What is left out stays. `manager`: an address, or null for nobody."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    manager: Annotated[str, msgspec.Meta(min_length=3, max_length=249)] | msgspec.UnsetType | None = msgspec.UNSET
    topics: Annotated[list[Topic], msgspec.Meta(max_length=MOST_TOPICS)] | msgspec.UnsetType = msgspec.UNSET


def view_of(details: Details) -> GroupView:
    """A group as it is shown."""
    return msgspec.convert(details, GroupView, from_attributes=True)


def seen(caller: Caller, group_id: str) -> Details:
    """The group of a path; raises as `seen_number`."""
    return groups.find(seen_number(caller, group_id))


def seen_number(caller: Caller, group_id: str, *, managing: bool = False) -> int:
    """The group of a path, when the caller manages groups or belongs to this one (with `managing`: is its manager).

    Raises:
        NotFound, Problem: to everybody else it looks like one that never was; to its members, who may not, a 403.
    """
    assert caller.person is not None
    found = number(group_id, "group")
    me = caller.person.id
    if groups.manager_of(found) == me or caller.may(MANAGE):
        return found
    if not group_members.is_member(found, me):
        raise Problem(404, "not-found", "there is no such group")
    if managing:
        raise Problem(403, "forbidden", "this is for the group's manager")
    return found


class Groups:
    """In the order in which they were made."""

    rights: ClassVar = {"GET": Right(permission=MANAGE, own=OWN), "POST": Right(permission=MANAGE)}
    operations: ClassVar = (
        Operation("GET", PATH, "Groups of people", responses={200: GroupPage}, query=GroupQuery, security=TOKEN, tag="people"),
        Operation(
            "POST", PATH, "Make a group", NewGroup, {201: GroupView, 409: None}, security=TOKEN, tag="people",
            response_headers={201: {"Location": "Of the group.", **DESCRIBED}},
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(NewGroup)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page: all groups for who manages them, one's own for others."""
        caller: Caller = request.context.caller
        assert caller.person is not None
        query = read_query(request, GroupQuery)
        try:
            after = None if query.cursor is None else cursors.read_number(query.cursor)
        except cursors.WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        of_user = None if caller.may(MANAGE) else caller.person.id
        found = groups.page(limit=query.limit + 1, after=after, of_user=of_user)
        items = [view_of(details) for details in found[: query.limit]]
        more = len(found) > query.limit
        answer(response, GroupPage(items=items, next=cursors.of_number(items[-1].id) if more else None))

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """201 with the group."""
        given = read_json(request, self._decoder)
        try:
            made = view_of(groups.create(given.name, description=given.description, actor=request.context.caller.actor))
        except Refused as error:
            raise Problem(422, "invalid-field", str(error)) from None
        response.set_header("Location", f"{PATH}/{made.id}")
        set_etag(response, made)
        answer(response, made, status=201)


class OneGroup:
    """Its members may look; changing it is for who manages groups, and giving it topics for who may read them."""

    rights: ClassVar = {
        "GET": Right(permission=MANAGE, own=OWN),
        "PATCH": Right(permission=MANAGE),
        "DELETE": Right(permission=MANAGE),
    }
    operations: ClassVar = (
        Operation(
            "GET", ONE, "One group", responses={200: GroupView, 404: None}, path_types={"group_id": GroupId}, security=TOKEN,
            tag="people", response_headers={200: DESCRIBED},
        ),
        Operation(
            "PATCH", ONE, "Change a group", GroupChange, {200: GroupView, 404: None, 409: None, 412: None},
            path_types={"group_id": GroupId}, security=TOKEN, tag="people", response_headers={200: DESCRIBED},
            description="Takes If-Match.",
        ),
        Operation(
            "DELETE", ONE, "Remove a group", responses={204: None, 404: None, 412: None}, path_types={"group_id": GroupId},
            security=TOKEN, tag="people", description="Its members stay users. Takes If-Match.",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(GroupChange)

    def on_get(self, request: falcon.Request, response: falcon.Response, group_id: str) -> None:
        """The group, with an ETag."""
        shown = view_of(seen(request.context.caller, group_id))
        set_etag(response, shown)
        answer(response, shown)

    def on_patch(self, request: falcon.Request, response: falcon.Response, group_id: str) -> None:
        """The group as it is then."""
        caller: Caller = request.context.caller
        given = read_json(request, self._decoder)
        wanted = {field: value for field, value in msgspec.structs.asdict(given).items() if value is not msgspec.UNSET}
        _hold_to_topics(caller, wanted.get("topics", ()))

        def check(before: Details) -> None:
            require_match(request, view_of(before))
            if wanted.get("manager") is not None:
                hold_to_own_scope(caller, groups.user_of(wanted["manager"]), before.id, wanted.get("topics"))

        try:
            changed = groups.alter(
                number(group_id, "group"),
                **wanted,
                actor=caller.actor,
                check=check,
            )
        except Refused as error:
            raise Problem(422, "invalid-field", str(error)) from None
        shown = view_of(changed)
        set_etag(response, shown)
        answer(response, shown)

    def on_delete(self, request: falcon.Request, response: falcon.Response, group_id: str) -> None:
        """204."""
        caller: Caller = request.context.caller
        groups.delete(
            number(group_id, "group"), actor=caller.actor, check=lambda before: require_match(request, view_of(before))
        )
        response.status = 204


def _hold_to_topics(caller: Caller, topics: Iterable[str]) -> None:
    """Nobody gives a group, and so perhaps themselves, more to read than they may read."""
    if caller.person is None or caller.may(Permission.MESSAGES_LIST):
        return
    foreign = sorted(set(topics) - scope_of(caller.person).topics)
    if foreign:
        detail = f"you may not read {', '.join(foreign)} yourself; ask somebody who may list all messages"
        raise Problem(403, "forbidden", detail, permission=Permission.MESSAGES_LIST)


def hold_to_own_scope(caller: Caller, newcomer: User, group_id: int, topics: Iterable[str] | None = None) -> None:
    """Nobody puts themselves into a group, or at its head, that reads more than they may read.

    `topics`: those that the group is to have; None: those that it has.
    """
    if caller.person is None or newcomer.id != caller.person.id or caller.may(Permission.MESSAGES_LIST):
        return
    group, own = scope_of_group(group_id), scope_of(caller.person)
    sees = group.clients <= own.clients and own.topics.issuperset(group.topics if topics is None else topics)
    if not sees or (inbox.is_for_group(group_id) and group_id not in groups_of(caller.person)):
        detail = "this group reads what you may not read yourself; ask somebody who may list all messages to put you in"
        raise Problem(403, "forbidden", detail, permission=Permission.MESSAGES_LIST)
