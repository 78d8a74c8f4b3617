"""The calls to main's API that people's tools make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from messagebroker.client.answers import AuditPage, Message, MessagePage, Person, QueueStats, Token
from messagebroker.client.calls import JSON, Call, as_json, reader

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Caller:
    """On whose behalf a call is made: a person's token and, from the portal, that person's address and browser."""

    token: str | None = None
    address: str | None = None
    user_agent: str | None = None

    def headers(self) -> dict[str, str]:
        """The request headers that say so."""
        given = {
            "authorization": f"Bearer {self.token}" if self.token else None,
            "x-forwarded-for": self.address,
            "user-agent": self.user_agent,
        }
        return {name: value for name, value in given.items() if value}

    def __repr__(self) -> str:
        return f"Caller(address={self.address!r})"  # never the token


def login(caller: Caller, email: str, password: str, code: str | None = None) -> Call[Token]:
    """Exchanges an e-mail address, a password and, for those who have one, a second factor's code for a token."""
    given = {"email": email, "password": password, **({"code": code} if code else {})}
    return _post(caller, "/api/v1/auth/login", given, reader(Token))


def refresh(caller: Caller, refresh_token: str) -> Call[Token]:
    """Exchanges a refresh token, which is used up with that, for a new token."""
    return _post(caller, "/api/v1/auth/refresh", {"refresh_token": refresh_token}, reader(Token))


def logout(caller: Caller) -> Call[None]:
    """Ends the session of the caller's token."""
    return Call(method="POST", path="/api/v1/auth/logout", read=_nothing, headers=caller.headers(), repeatable=False)


def forgotten(caller: Caller, email: str) -> Call[None]:
    """Asks for a code by e-mail with which a new password can be set."""
    return _post(caller, "/api/v1/auth/forgotten", {"email": email}, _nothing)


def reset_password(caller: Caller, code: str, new: str) -> Call[None]:
    """Sets a new password with a code from an e-mail."""
    return _post(caller, "/api/v1/auth/reset", {"token": code, "new_password": new}, _nothing)


def change_password(caller: Caller, current: str, new: str) -> Call[Token]:
    """Sets a new password; every other token of the person ends."""
    return _post(caller, "/api/v1/auth/password", {"current_password": current, "new_password": new}, reader(Token))


def me(caller: Caller) -> Call[Person]:
    """Whom the token belongs to."""
    return _get(caller, "/api/v1/auth/me", Person)


def messages(caller: Caller, filters: Mapping[str, str | int | None]) -> Call[MessagePage]:
    """A part of the list of messages."""
    return _get(caller, "/api/v1/messages", MessagePage, filters)


def message(caller: Caller, message_id: str, *, body: bool) -> Call[Message]:
    """One message; with `body`, opened, which main records."""
    return _get(caller, f"/api/v1/messages/{quote(message_id, safe='')}", Message, {"body": "true" if body else None})


def queue_stats(caller: Caller) -> Call[QueueStats]:
    """The depth of the queues."""
    return _get(caller, "/api/v1/queue/stats", QueueStats)


def audit(caller: Caller, filters: Mapping[str, str | int | None]) -> Call[AuditPage]:
    """A part of the audit log."""
    return _get(caller, "/api/v1/audit", AuditPage, filters)


def health(path: str) -> Call[dict[str, Any]]:
    """Whether main answers; needs no token."""
    return Call(method="GET", path=path, read=reader(dict[str, Any]))


def _nothing(response: httpx.Response) -> None:
    """Reads an answer that has no body."""


def _get(caller: Caller, path: str, kind: type[T], params: Mapping[str, str | int | None] | None = None) -> Call[T]:
    given = {name: str(value) for name, value in (params or {}).items() if value is not None}
    return Call(method="GET", path=path, read=reader(kind), params=given, headers=caller.headers())


def _post(caller: Caller, path: str, document: dict[str, Any], read: Any) -> Call[Any]:
    headers = {**caller.headers(), "content-type": JSON}
    return Call(method="POST", path=path, read=read, headers=headers, content=as_json(document), repeatable=False)
