"""How calls to main's API are put together: on whose behalf, with which parameters, read as what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from msgspec import UNSET, Struct

from messagebroker.client.calls import JSON, Call, Param, as_json, as_params, reader

T = TypeVar("T")
S = TypeVar("S", bound=Struct)


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


NOBODY = Caller()


class Page(Struct, Generic[T], frozen=True, kw_only=True):
    """A part of a list; `next` is the `cursor` of the following part."""

    items: list[T]
    next: str | None = None


def under(base: str, *parts: str | int) -> str:
    """The path of something below `base`."""
    return "/".join([base, *(quote(str(part), safe="") for part in parts)])


def get(caller: Caller, path: str, read: Callable[[httpx.Response], T], **params: Param) -> Call[T]:
    """A question."""
    return Call(method="GET", path=path, read=read, params=as_params(**params), headers=caller.headers())


def send(
    caller: Caller,
    method: str,
    path: str,
    read: Callable[[httpx.Response], T],
    document: dict[str, Any] | None = None,
    *,
    if_match: str | None = None,
) -> Call[T]:
    """A change: not sent again when its answer is lost. Members of the document that are UNSET are left out."""
    headers = caller.headers()
    if if_match is not None:
        headers["if-match"] = if_match
    content = None
    if document is not None:
        headers["content-type"] = JSON
        content = as_json({name: _with_zone(value) for name, value in document.items() if value is not UNSET})
    return Call(method=method, path=path, read=read, headers=headers, content=content, repeatable=False)


def _with_zone(value: Any) -> Any:
    """Times without a zone are local ones, as everywhere in Python."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def nothing(response: httpx.Response) -> None:
    """Reads an answer that has no body."""


def versioned(kind: type[S]) -> Callable[[httpx.Response], S]:
    """Reads an answer as `kind`, whose `etag` is the answer's: give it as `if_match` with a change."""
    read = reader(kind)
    return lambda response: msgspec.structs.replace(read(response), etag=response.headers.get("etag"))
