"""Where people are logged in: one's own sessions, and those of others for who manages people."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, Page, get, nothing, send, under
from messagebroker.client.users import USERS

MINE = "/api/v1/auth/sessions"


class Session(Struct, frozen=True, kw_only=True):
    """A login that has not ended. `current`: the one that asks."""

    id: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    address: str | None = None
    user_agent: str | None = None
    current: bool = False


class Ended(Struct, frozen=True, kw_only=True):
    """How many sessions ended."""

    ended: int


def mine(caller: Caller, *, limit: int = 50, cursor: str | None = None) -> Call[Page[Session]]:
    """A part of the caller's own."""
    return get(caller, MINE, _PAGE, limit=limit, cursor=cursor)


def end_others(caller: Caller) -> Call[Ended]:
    """Ends all of the caller's own but the one that asks."""
    return send(caller, "DELETE", MINE, _ENDED)


def end_mine(caller: Caller, session_id: str) -> Call[None]:
    """Ends one of the caller's own."""
    return send(caller, "DELETE", under(MINE, session_id), nothing)


def of_user(caller: Caller, user_id: int, *, limit: int = 50, cursor: str | None = None) -> Call[Page[Session]]:
    """A part of somebody's."""
    return get(caller, under(USERS, user_id, "sessions"), _PAGE, limit=limit, cursor=cursor)


def end_all(caller: Caller, user_id: int) -> Call[Ended]:
    """Ends all of somebody's."""
    return send(caller, "DELETE", under(USERS, user_id, "sessions"), _ENDED)


def end(caller: Caller, user_id: int, session_id: str) -> Call[None]:
    """Ends one of somebody's."""
    return send(caller, "DELETE", under(USERS, user_id, "sessions", session_id), nothing)


class SessionMethods:
    """Of the clients."""

    my_sessions = Method(mine)
    end_my_other_sessions = Method(end_others)
    end_my_session = Method(end_mine)
    user_sessions = Method(of_user)
    end_user_sessions = Method(end_all)
    end_user_session = Method(end)


_PAGE = reader(Page[Session])
_ENDED = reader(Ended)
