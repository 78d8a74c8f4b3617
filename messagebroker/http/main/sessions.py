"""GET and DELETE /api/v1/auth/sessions: a person's own; /api/v1/users/{user_id}/sessions: for those who look after people."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.db.models import Session, User
from messagebroker.http.decoding import answer, read_query
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.main.people import UserId, managed
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import cursors, ids, sessions
from messagebroker.ops.permissions import Permission
from messagebroker.ops.sessions import Why

PATH, OF_USER = "/api/v1/auth/sessions", "/api/v1/users/{user_id}/sessions"
SessionId = Annotated[str, msgspec.Meta(extra_json_schema={"format": "uuid"})]


class SessionQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How much, from where on."""

    limit: Limit = 50
    cursor: Cursor | None = None


class SessionView(msgspec.Struct, kw_only=True):
    """A login that has not ended. `current`: the one that asks."""

    id: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    address: str | None
    user_agent: str | None
    current: bool


class SessionPage(msgspec.Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[SessionView]
    next: str | None


class Ended(msgspec.Struct, kw_only=True):
    """How many sessions ended."""

    ended: int


class MySessions:
    """Where I am logged in; DELETE ends all but the session that asks."""

    rights: ClassVar = {"GET": Right(signed_in=True), "DELETE": Right(signed_in=True)}
    operations: ClassVar = (
        Operation(
            "GET", PATH, "My sessions", responses={200: SessionPage}, query=SessionQuery, security=TOKEN, tag="people"
        ),
        Operation("DELETE", PATH, "End my other sessions", responses={200: Ended}, security=TOKEN, tag="people"),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page, in the order in which they began."""
        caller: Caller = request.context.caller
        assert caller.person is not None
        answer(response, _page(request, caller.person, caller))

    def on_delete(self, request: falcon.Request, response: falcon.Response) -> None:
        """How many ended."""
        caller: Caller = request.context.caller
        assert caller.person is not None
        answer(response, Ended(ended=sessions.end_all(caller.person, Why.OWNER, caller.actor, but=caller.session)))


class MySession:
    """One of mine."""

    rights: ClassVar = {"DELETE": Right(signed_in=True)}
    operations: ClassVar = (
        Operation(
            "DELETE", PATH + "/{session_id}", "End a session of mine", responses={204: None, 404: None},
            path_types={"session_id": SessionId}, security=TOKEN, tag="people",
        ),
    )  # fmt: skip

    def on_delete(self, request: falcon.Request, response: falcon.Response, session_id: str) -> None:
        """204. Somebody else's looks like one that never was."""
        caller: Caller = request.context.caller
        assert caller.person is not None
        _end(session_id, Why.OWNER, caller, caller.person)
        response.status = 204


class UserSessions:
    """Where somebody is logged in; DELETE ends all of them."""

    rights: ClassVar = {
        "GET": Right(permission=Permission.SESSIONS_MANAGE),
        "DELETE": Right(permission=Permission.SESSIONS_MANAGE),
    }
    operations: ClassVar = (
        Operation(
            "GET", OF_USER, "Somebody's sessions", responses={200: SessionPage, 404: None}, query=SessionQuery,
            path_types={"user_id": UserId}, security=TOKEN, tag="people",
        ),
        Operation(
            "DELETE", OF_USER, "End somebody's sessions", responses={200: Ended, 404: None}, path_types={"user_id": UserId},
            security=TOKEN, tag="people",
        ),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response, user_id: str) -> None:
        """A page, in the order in which they began."""
        caller: Caller = request.context.caller
        answer(response, _page(request, managed(caller, user_id), caller))

    def on_delete(self, request: falcon.Request, response: falcon.Response, user_id: str) -> None:
        """How many ended."""
        caller: Caller = request.context.caller
        answer(response, Ended(ended=sessions.end_all(managed(caller, user_id), Why.MANAGER, caller.actor)))


class UserSession:
    """One of somebody's."""

    rights: ClassVar = {"DELETE": Right(permission=Permission.SESSIONS_MANAGE)}
    operations: ClassVar = (
        Operation(
            "DELETE", OF_USER + "/{session_id}", "End a session of somebody", responses={204: None, 404: None},
            path_types={"user_id": UserId, "session_id": SessionId}, security=TOKEN, tag="people",
        ),
    )  # fmt: skip

    def on_delete(self, request: falcon.Request, response: falcon.Response, user_id: str, session_id: str) -> None:
        """204."""
        caller: Caller = request.context.caller
        _end(session_id, Why.MANAGER, caller, managed(caller, user_id))
        response.status = 204


def _end(session_id: str, why: Why, caller: Caller, user: User) -> None:
    known = ids.parse(session_id)
    if known is None or not sessions.end(known, why, caller.actor, user_id=user.id):
        raise Problem(404, "not-found", "there is no such session, or it has ended")


def _page(request: falcon.Request, user: User, caller: Caller) -> SessionPage:
    query = read_query(request, SessionQuery)
    try:
        after = None if query.cursor is None else cursors.read_id(query.cursor)
    except cursors.WrongCursor as error:
        raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
    found = sessions.page(user.id, limit=query.limit + 1, after=after)
    shown = found[: query.limit]
    more = len(found) > query.limit
    return SessionPage(items=[_view(row, caller) for row in shown], next=cursors.of_id(bytes(shown[-1].id)) if more else None)


def _view(row: Session, caller: Caller) -> SessionView:
    return SessionView(
        id=ids.text(row.id),
        created_at=row.created_at,
        seen_at=row.seen_at,
        expires_at=row.expires_at,
        address=row.address,
        user_agent=row.user_agent,
        current=bytes(row.id) == caller.session,
    )
