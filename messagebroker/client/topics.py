"""The catalogue of topics."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, Page, get, nothing, send, under, versioned

TOPICS = "/api/v1/topics"


class Topic(Struct, frozen=True, kw_only=True):
    """A topic of the catalogue. Lists say only whether there is a schema."""

    name: str
    description: str = ""
    has_schema: bool = False
    schema: dict[str, Any] | None = None  # JSON Schema that bodies are checked against
    deprecated_at: datetime | None = None
    must_route: bool = False  # a message that nobody subscribed to is a failed one
    created_at: datetime | None = None
    policy_number: int | None = None  # after a change: the policy that tells the proxies
    note: str | None = None  # after a change: why they were not told yet
    etag: str | None = None  # for the next change's `if_match`


def page(caller: Caller, *, limit: int = 50, cursor: str | None = None) -> Call[Page[Topic]]:
    """A part of the catalogue, by name."""
    return get(caller, TOPICS, _PAGE, limit=limit, cursor=cursor)


def create(
    caller: Caller,
    name: str,
    *,
    description: str | UnsetType = UNSET,
    schema: dict[str, Any] | UnsetType | None = UNSET,
    deprecated: bool | UnsetType = UNSET,
    must_route: bool | UnsetType = UNSET,
) -> Call[Topic]:
    """A new entry of the catalogue."""
    flags = {"deprecated": deprecated, "must_route": must_route}
    return send(caller, "POST", TOPICS, _TOPIC, {"name": name, "description": description, "schema": schema, **flags})


def one(caller: Caller, name: str) -> Call[Topic]:
    """One topic."""
    return get(caller, under(TOPICS, name), _TOPIC)


def change(
    caller: Caller,
    name: str,
    *,
    description: str | UnsetType = UNSET,
    schema: dict[str, Any] | UnsetType | None = UNSET,
    deprecated: bool | UnsetType = UNSET,
    must_route: bool | UnsetType = UNSET,
    if_match: str | None = None,
) -> Call[Topic]:
    """What is left out stays; a schema of None takes the present one away."""
    changes = {"description": description, "schema": schema, "deprecated": deprecated, "must_route": must_route}
    return send(caller, "PATCH", under(TOPICS, name), _TOPIC, changes, if_match=if_match)


def remove(caller: Caller, name: str, *, if_match: str | None = None) -> Call[None]:
    """Takes it out of the catalogue; its messages stay, new ones are no longer checked."""
    return send(caller, "DELETE", under(TOPICS, name), nothing, if_match=if_match)


class TopicMethods:
    """Of the clients."""

    topics = Method(page)
    create_topic = Method(create)
    topic = Method(one)
    change_topic = Method(change)
    remove_topic = Method(remove)


_PAGE = reader(Page[Topic])
_TOPIC = versioned(Topic)
