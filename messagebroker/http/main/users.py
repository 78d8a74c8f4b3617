"""GET and POST /api/v1/users, GET and PATCH /api/v1/users/{user_id}, and what helps people who are locked out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

import falcon
import msgspec

from messagebroker.db.models import User
from messagebroker.errors import Refused
from messagebroker.http.decoding import answer, read_json, read_query
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.etags import DESCRIBED, require_match, set_etag
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.main.people import UserId, managed, number, require_cover
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import cursors, second_factor, users
from messagebroker.ops.permissions import Permission

PATH = "/api/v1/users"
ONE = PATH + "/{user_id}"
Role = Literal["user", "user_manager", "operator", "admin"]
Email = Annotated[str, msgspec.Meta(min_length=3, max_length=249)]


class UserQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`email`: the one user of this address."""

    email: Email | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class UserView(msgspec.Struct, kw_only=True):
    """A person."""

    id: int
    email: str
    role: str
    disabled_at: datetime | None
    must_change_password: bool
    second_factor: bool
    created_at: datetime


class UserPage(msgspec.Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[UserView]
    next: str | None


class NewUser(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """They get a one-time password, and choose one at their first login."""

    email: Email
    role: Role = "user"


class UserChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What is left out stays. Passwords and second factors are their owner's to set."""

    role: Role | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET


class OneTime(msgspec.Struct, kw_only=True):
    """Shown only now."""

    user: UserView
    one_time_password: str


def view_of(user: User) -> UserView:
    """A user as others see them."""
    return UserView(
        id=user.id,
        email=user.email,
        role=user.role,
        disabled_at=user.disabled_at,
        must_change_password=user.must_change_password,
        second_factor=user.totp_confirmed_at is not None,
        created_at=user.created_at,
    )


class Users:
    """In the order in which they were made."""

    rights: ClassVar = {"GET": Right(permission=Permission.USERS_READ), "POST": Right(permission=Permission.USERS_MANAGE)}
    operations: ClassVar = (
        Operation("GET", PATH, "People", responses={200: UserPage}, query=UserQuery, security=TOKEN, tag="people"),
        Operation(
            "POST", PATH, "Make a user", NewUser, {201: OneTime, 409: None}, security=TOKEN, tag="people",
            response_headers={201: {"Location": "Of the user."}},
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(NewUser)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page."""
        query = read_query(request, UserQuery)
        try:
            after = None if query.cursor is None else cursors.read_number(query.cursor)
        except cursors.WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        if query.email is not None:
            found = [user for user in users.of_address(query.email) if after is None or user.id > after]
        else:
            found = users.page(limit=query.limit + 1, after=after)
        items = [view_of(user) for user in found[: query.limit]]
        more = len(found) > query.limit
        answer(response, UserPage(items=items, next=cursors.of_number(items[-1].id) if more else None))

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """201 with a one-time password."""
        caller: Caller = request.context.caller
        given = read_json(request, self._decoder)
        require_cover(caller, given.role)
        try:
            email = users.normal_email(given.email)
        except Refused as error:
            raise Problem(422, "invalid-field", str(error), field="email") from None
        password = users.create(email, given.role, actor=caller.actor)
        assert password is not None
        made = view_of(users.find(email))
        response.set_header("Location", f"{PATH}/{made.id}")
        answer(response, OneTime(user=made, one_time_password=password), status=201)


class OneUser:
    """Role, and whether they are let in."""

    rights: ClassVar = {"GET": Right(permission=Permission.USERS_READ), "PATCH": Right(permission=Permission.USERS_MANAGE)}
    operations: ClassVar = (
        Operation(
            "GET", ONE, "One user", responses={200: UserView, 404: None}, path_types={"user_id": UserId}, security=TOKEN,
            tag="people", response_headers={200: DESCRIBED},
        ),
        Operation(
            "PATCH", ONE, "Change a user's role, shut them out or let them in", UserChange,
            {200: UserView, 404: None, 409: None, 412: None}, path_types={"user_id": UserId}, security=TOKEN, tag="people",
            response_headers={200: DESCRIBED}, description="Takes If-Match.",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(UserChange)

    def on_get(self, request: falcon.Request, response: falcon.Response, user_id: str) -> None:
        """The user, with an ETag."""
        shown = view_of(users.by_id(number(user_id, "user")))
        set_etag(response, shown)
        answer(response, shown)

    def on_patch(self, request: falcon.Request, response: falcon.Response, user_id: str) -> None:
        """The user as they are then. Nobody raises themselves, nor changes who may do more than they."""
        caller: Caller = request.context.caller
        given = read_json(request, self._decoder)

        def check(user: User) -> None:
            require_cover(caller, user.role)
            if given.role is not msgspec.UNSET:
                require_cover(caller, given.role)
            if caller.person is not None and user.id == caller.person.id:
                raise Problem(403, "not-yourself", "somebody else has to change your role, or shut you out")
            require_match(request, view_of(user))

        changed = users.alter(
            number(user_id, "user"),
            role=None if given.role is msgspec.UNSET else given.role,
            disabled=None if given.disabled is msgspec.UNSET else given.disabled,
            actor=caller.actor,
            check=check,
        )
        shown = view_of(changed)
        set_etag(response, shown)
        answer(response, shown)


class UserPassword:
    """For people who cannot get in any more."""

    rights: ClassVar = {"POST": Right(permission=Permission.USERS_MANAGE)}
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/reset-password", "Give somebody a one-time password", responses={200: OneTime, 404: None},
            path_types={"user_id": UserId}, security=TOKEN, tag="people", description="Ends all their sessions.",
        ),
    )  # fmt: skip

    def on_post(self, request: falcon.Request, response: falcon.Response, user_id: str) -> None:
        """200 with the password, which is shown only now."""
        caller: Caller = request.context.caller
        user = managed(caller, user_id)
        # once more when the password is hashed, which takes long enough to become an admin in
        password = users.reset_password(user.email, actor=caller.actor, check=lambda now: require_cover(caller, now.role))
        assert password is not None
        answer(response, OneTime(user=view_of(users.by_id(user.id)), one_time_password=password))


class UserSecondFactor:
    """For people who lost their authenticator and the recovery codes."""

    rights: ClassVar = {"DELETE": Right(permission=Permission.USERS_MANAGE)}
    operations: ClassVar = (
        Operation(
            "DELETE", ONE + "/second-factor", "Remove somebody's second factor", responses={204: None, 404: None},
            path_types={"user_id": UserId}, security=TOKEN, tag="people",
        ),
    )  # fmt: skip

    def on_delete(self, request: falcon.Request, response: falcon.Response, user_id: str) -> None:
        """204, also when there was none."""
        caller: Caller = request.context.caller
        second_factor.remove(managed(caller, user_id), caller.actor)
        response.status = 204
