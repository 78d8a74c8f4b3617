"""Registered senders."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType

from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, Page, get, send, under, versioned

CLIENTS = "/api/v1/clients"


class Sender(Struct, frozen=True, kw_only=True):
    """A client of the system, and when its newest certificate that is not revoked ends."""

    name: str
    owner: str | None = None
    group_id: int | None = None
    default_topic: str | None = None
    topics: list[str] | None = None  # None: every topic
    rate: int | None = None  # messages a second; None: no limit
    max_batch: int | None = None
    created_at: datetime | None = None
    disabled_at: datetime | None = None
    certificate_ends: datetime | None = None
    policy_number: int | None = None  # after a change: the policy that tells the proxies
    note: str | None = None  # after a change: why they were not told yet
    etag: str | None = None  # for the next change's `if_match`


class Revoked(Struct, frozen=True, kw_only=True):
    """The certificates that were revoked, and the policy that told the servers."""

    serials: list[str]
    policy_number: int


def page(
    caller: Caller, *, owner: str | None = None, group_id: int | None = None, limit: int = 50, cursor: str | None = None
) -> Call[Page[Sender]]:
    """A part of the list, by name; of an owner or of a group, not both."""
    return get(caller, CLIENTS, _PAGE, owner=owner, group_id=group_id, limit=limit, cursor=cursor)


def register(
    caller: Caller,
    name: str,
    *,
    owner: str | UnsetType | None = UNSET,
    group_id: int | UnsetType | None = UNSET,
    default_topic: str | UnsetType = UNSET,
    topics: list[str] | UnsetType | None = UNSET,
    rate: int | UnsetType | None = UNSET,
    max_batch: int | UnsetType | None = UNSET,
) -> Call[Sender]:
    """A new client, without a certificate yet. What is left out takes the system's default."""
    limits = {"topics": topics, "rate": rate, "max_batch": max_batch}
    given = {"name": name, "owner": owner, "group_id": group_id, "default_topic": default_topic, **limits}
    return send(caller, "POST", CLIENTS, _SENDER, given)


def one(caller: Caller, name: str) -> Call[Sender]:
    """One client."""
    return get(caller, under(CLIENTS, name), _SENDER)


def change(
    caller: Caller,
    name: str,
    *,
    owner: str | UnsetType | None = UNSET,
    group_id: int | UnsetType | None = UNSET,
    default_topic: str | UnsetType = UNSET,
    topics: list[str] | UnsetType | None = UNSET,
    rate: int | UnsetType | None = UNSET,
    max_batch: int | UnsetType | None = UNSET,
    if_match: str | None = None,
) -> Call[Sender]:
    """What is left out stays; None takes an owner, a group or a limit away."""
    limits = {"topics": topics, "rate": rate, "max_batch": max_batch}
    changes = {"owner": owner, "group_id": group_id, "default_topic": default_topic, **limits}
    return send(caller, "PATCH", under(CLIENTS, name), _SENDER, changes, if_match=if_match)


def disable(caller: Caller, name: str, *, if_match: str | None = None) -> Call[Sender]:
    """Shuts a client out; its certificates stay."""
    return send(caller, "POST", under(CLIENTS, name, "disable"), _SENDER, if_match=if_match)


def enable(caller: Caller, name: str, *, if_match: str | None = None) -> Call[Sender]:
    """Lets it in again."""
    return send(caller, "POST", under(CLIENTS, name, "enable"), _SENDER, if_match=if_match)


def revoke(caller: Caller, name: str, reason: str | UnsetType = UNSET) -> Call[Revoked]:
    """Revokes all its certificates: after a theft."""
    return send(caller, "POST", under(CLIENTS, name, "revoke"), _REVOKED, {"reason": reason})


class ClientMethods:
    """Of the clients."""

    clients = Method(page)
    register_client = Method(register)
    client = Method(one)
    change_client = Method(change)
    disable_client = Method(disable)
    enable_client = Method(enable)
    revoke_client = Method(revoke)


_PAGE = reader(Page[Sender])
_SENDER = versioned(Sender)
_REVOKED = reader(Revoked)
