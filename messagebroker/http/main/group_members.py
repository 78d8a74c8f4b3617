"""/api/v1/groups/{group_id}/members: who is in a group. Its manager puts people in and takes them out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.errors import NotFound
from messagebroker.http.decoding import answer, read_json, read_query
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.groups import MANAGE, ONE, OWN, GroupId, GroupQuery, hold_to_own_scope, seen_number
from messagebroker.http.main.people import UserId, number
from messagebroker.http.main.tokens import WAIT, too_many
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import cursors, group_members
from messagebroker.ops.lockout import Lockout
from messagebroker.ops.permissions import Permission


class MemberView(msgspec.Struct, kw_only=True):
    """Somebody in a group."""

    id: int
    email: str


class MemberPage(msgspec.Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[MemberView]
    next: str | None


class NewMember(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """By address: who manages a group need not see the list of users."""

    email: Annotated[str, msgspec.Meta(min_length=3, max_length=249)]


class GroupMembers:
    """Members see each other."""

    rights: ClassVar = {"GET": Right(permission=MANAGE, own=OWN), "POST": Right(permission=MANAGE, own=OWN)}
    operations: ClassVar = (
        Operation(
            "GET", ONE + "/members", "Who is in a group", responses={200: MemberPage, 404: None}, query=GroupQuery,
            path_types={"group_id": GroupId}, security=TOKEN, tag="people",
        ),
        Operation(
            "POST", ONE + "/members", "Put somebody in a group", NewMember, {200: MemberView, 404: None, 429: None},
            path_types={"group_id": GroupId}, security=TOKEN, tag="people", response_headers=WAIT,
            description="Also for the group's manager, who is slowed down when they try addresses that are nobody's. "
            "Nobody puts in themselves where they would read more than they may.",
        ),
    )  # fmt: skip

    def __init__(self, lockout: Lockout) -> None:
        self._lockout = lockout
        self._decoder = msgspec.json.Decoder(NewMember)

    def on_get(self, request: falcon.Request, response: falcon.Response, group_id: str) -> None:
        """A page, in the order of users."""
        group = seen_number(request.context.caller, group_id)
        query = read_query(request, GroupQuery)
        try:
            after = None if query.cursor is None else cursors.read_number(query.cursor)
        except cursors.WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        found = group_members.page(group, limit=query.limit + 1, after=after)
        items = [MemberView(id=user.id, email=user.email) for user in found[: query.limit]]
        more = len(found) > query.limit
        answer(response, MemberPage(items=items, next=cursors.of_number(items[-1].id) if more else None))

    def on_post(self, request: falcon.Request, response: falcon.Response, group_id: str) -> None:
        """200, also when they are in it already."""
        caller: Caller = request.context.caller
        group = seen_number(caller, group_id, managing=True)
        given = read_json(request, self._decoder)
        with self._slowed_down(caller):
            user = group_members.add_member(
                group, given.email, actor=caller.actor, check=lambda user: hold_to_own_scope(caller, user, group)
            )
        answer(response, MemberView(id=user.id, email=user.email))

    @contextmanager
    def _slowed_down(self, caller: Caller) -> Iterator[None]:
        """Who may not see the list of users could try addresses instead, since a 404 tells that one is nobody's."""
        assert caller.person is not None
        if caller.may(Permission.USERS_READ):
            yield
            return
        who = caller.person.email, str(caller.address)
        wait = self._lockout.begin(*who)
        if wait > 0:
            raise too_many(wait)
        try:
            yield
        except NotFound:
            self._lockout.failed(*who)
            raise
        self._lockout.forgiven(*who)


class GroupMember:
    """One of them."""

    rights: ClassVar = {"DELETE": Right(permission=MANAGE, own=OWN)}
    operations: ClassVar = (
        Operation(
            "DELETE", ONE + "/members/{user_id}", "Take somebody out of a group", responses={204: None, 404: None},
            path_types={"group_id": GroupId, "user_id": UserId}, security=TOKEN, tag="people",
            description="Also for the group's manager, and for members who leave.",
        ),
    )  # fmt: skip

    def on_delete(self, request: falcon.Request, response: falcon.Response, group_id: str, user_id: str) -> None:
        """204."""
        caller: Caller = request.context.caller
        assert caller.person is not None
        leaves = user_id == str(caller.person.id)
        group = seen_number(caller, group_id, managing=not leaves)
        group_members.remove_member(group, number(user_id, "member"), actor=caller.actor)
        response.status = 204
