"""Users, for who manages people."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType

from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, Page, get, nothing, send, under, versioned

USERS = "/api/v1/users"


class User(Struct, frozen=True, kw_only=True):
    """Somebody who may log in."""

    id: int
    email: str
    role: str
    disabled_at: datetime | None = None
    must_change_password: bool = False
    second_factor: bool = False
    created_at: datetime | None = None
    etag: str | None = None  # of `user` and `change_user`: for the next change's `if_match`


class OneTimePassword(Struct, frozen=True, kw_only=True):
    """A password that is shown once, and changed at the first login."""

    user: User
    one_time_password: str

    def __repr__(self) -> str:
        return f"OneTimePassword(user={self.user!r})"  # never the password itself


def page(caller: Caller, *, email: str | None = None, limit: int = 50, cursor: str | None = None) -> Call[Page[User]]:
    """A part of the list; `email` finds one."""
    return get(caller, USERS, _PAGE, email=email, limit=limit, cursor=cursor)


def create(caller: Caller, email: str, role: str = "user") -> Call[OneTimePassword]:
    """A new user, who gets a one-time password."""
    return send(caller, "POST", USERS, _ONE_TIME, {"email": email, "role": role})


def one(caller: Caller, user_id: int) -> Call[User]:
    """One user."""
    return get(caller, under(USERS, user_id), _USER)


def change(
    caller: Caller,
    user_id: int,
    *,
    role: str | UnsetType = UNSET,
    disabled: bool | UnsetType = UNSET,
    if_match: str | None = None,
) -> Call[User]:
    """Another role; shuts somebody out or lets them in again. What is left out stays."""
    return send(caller, "PATCH", under(USERS, user_id), _USER, {"role": role, "disabled": disabled}, if_match=if_match)


def reset_password(caller: Caller, user_id: int) -> Call[OneTimePassword]:
    """A one-time password for somebody who cannot get in; ends their sessions."""
    return send(caller, "POST", under(USERS, user_id, "reset-password"), _ONE_TIME)


def remove_second_factor(caller: Caller, user_id: int) -> Call[None]:
    """For somebody who lost their authenticator and the recovery codes."""
    return send(caller, "DELETE", under(USERS, user_id, "second-factor"), nothing)


class UserMethods:
    """Of the clients."""

    users = Method(page)
    create_user = Method(create)
    user = Method(one)
    change_user = Method(change)
    reset_user_password = Method(reset_password)
    remove_user_second_factor = Method(remove_second_factor)


_PAGE = reader(Page[User])
_USER = versioned(User)
_ONE_TIME = reader(OneTimePassword)
