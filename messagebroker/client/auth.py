"""Logging in and out, one's own password."""

from __future__ import annotations

from messagebroker.client.answers import Person, Token
from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import NOBODY, Caller, get, nothing, send

AUTH = "/api/v1/auth"


def login(email: str, password: str, code: str | None = None, *, caller: Caller = NOBODY) -> Call[Token]:
    """Exchanges an e-mail address, a password and a second factor's code, if there is one, for a token."""
    given = {"email": email, "password": password, **({"code": code} if code else {})}
    return send(caller, "POST", f"{AUTH}/login", _TOKEN, given)


def refresh(refresh_token: str, *, caller: Caller = NOBODY) -> Call[Token]:
    """Exchanges a refresh token, which is used up with that, for a new token."""
    return send(caller, "POST", f"{AUTH}/refresh", _TOKEN, {"refresh_token": refresh_token})


def logout(caller: Caller) -> Call[None]:
    """Ends the session of the caller's token."""
    return send(caller, "POST", f"{AUTH}/logout", nothing)


def forgotten(email: str, *, caller: Caller = NOBODY) -> Call[None]:
    """Asks for a code by e-mail with which a new password can be set."""
    return send(caller, "POST", f"{AUTH}/forgotten", nothing, {"email": email})


def reset_password(code: str, new: str, *, caller: Caller = NOBODY) -> Call[None]:
    """Sets a new password with a code from an e-mail."""
    return send(caller, "POST", f"{AUTH}/reset", nothing, {"token": code, "new_password": new})


def change_password(caller: Caller, current: str, new: str) -> Call[Token]:
    """Sets a new password; ends every other token of the person."""
    return send(caller, "POST", f"{AUTH}/password", _TOKEN, {"current_password": current, "new_password": new})


def me(caller: Caller) -> Call[Person]:
    """Whom the token belongs to."""
    return get(caller, f"{AUTH}/me", _PERSON)


class AuthMethods:
    """Of the clients."""

    login = Method(login)
    refresh = Method(refresh)
    logout = Method(logout)
    forgotten = Method(forgotten)
    reset_password = Method(reset_password)
    change_password = Method(change_password)
    me = Method(me)


_TOKEN = reader(Token)
_PERSON = reader(Person)
