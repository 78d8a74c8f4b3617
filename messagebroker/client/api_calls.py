"""The calls to main's API that people's tools make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

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


def login(caller: Caller, email: str, password: str) -> Call[Token]:
    """Exchanges an e-mail address and a password for a token."""
    return _post(caller, "/api/v1/auth/login", {"email": email, "password": password}, reader(Token))


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


def _get(caller: Caller, path: str, kind: type[T], params: Mapping[str, str | int | None] | None = None) -> Call[T]:
    given = {name: str(value) for name, value in (params or {}).items() if value is not None}
    return Call(method="GET", path=path, read=reader(kind), params=given, headers=caller.headers())


def _post(caller: Caller, path: str, document: dict[str, Any], read: Any) -> Call[Any]:
    headers = {**caller.headers(), "content-type": JSON}
    return Call(method="POST", path=path, read=read, headers=headers, content=as_json(document), repeatable=False)
