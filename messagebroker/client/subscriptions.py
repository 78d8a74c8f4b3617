"""Who gets which messages, by which channel."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, Page, get, nothing, send, under, versioned

SUBSCRIPTIONS = "/api/v1/subscriptions"


class Subscription(Struct, frozen=True, kw_only=True):
    """Patterns of topics, perhaps a filter, a channel and its configuration. Its secrets are never shown."""

    id: int
    name: str
    channel: str
    topics: list[str] = field(default_factory=list)
    filter: dict[str, Any] | None = None
    owner: str | None = None
    group_id: int | None = None
    client: str | None = None  # pull: who takes
    config: dict[str, Any] = field(default_factory=dict)
    has_secrets: bool = False
    schedule: list[float] | None = None  # seconds before each try; None: the default
    ordered_by: str | None = None
    created_at: datetime | None = None
    changed_at: datetime | None = None
    disabled_at: datetime | None = None
    disabled_why: str | None = None
    failures: int = 0  # attempts in a row that failed
    failing_since: datetime | None = None
    signing_secret: str | None = None  # after `subscribe`: of a webhook, this once
    warnings: list[str] = field(default_factory=list)  # after `subscribe`: why deliveries would fail as things are
    etag: str | None = None  # for the next change's `if_match`


class Replayed(Struct, frozen=True, kw_only=True):
    """`next_since`: from where to ask for the rest, once these have gone out; None: this was all."""

    found: int
    replayed: int
    next_since: datetime | None = None
    lasts_seconds: float = 0.0


def page(
    caller: Caller, *, channel: str | None = None, owner: str | None = None, limit: int = 50, cursor: str | None = None
) -> Call[Page[Subscription]]:
    """A part of all for who may read them, of one's own for others; of a channel or of an owner, not both."""
    return get(caller, SUBSCRIPTIONS, _PAGE, channel=channel, owner=owner, limit=limit, cursor=cursor)


def create(
    caller: Caller,
    name: str,
    channel: str,
    topics: list[str],
    *,
    config: dict[str, Any] | UnsetType = UNSET,
    secrets: dict[str, Any] | UnsetType = UNSET,
    filter: dict[str, Any] | UnsetType | None = UNSET,
    owner: str | UnsetType | None = UNSET,
    group_id: int | UnsetType | None = UNSET,
    client: str | UnsetType | None = UNSET,
    schedule: list[float] | UnsetType | None = UNSET,
    ordered_by: str | UnsetType | None = UNSET,
) -> Call[Subscription]:
    """A new one. A webhook's `signing_secret` that the system draws is in this answer only."""
    whose = {"owner": owner, "group_id": group_id, "client": client}
    how = {"config": config, "secrets": secrets, "filter": filter, "schedule": schedule, "ordered_by": ordered_by}
    return send(caller, "POST", SUBSCRIPTIONS, _ONE, {"name": name, "channel": channel, "topics": topics, **whose, **how})


def one(caller: Caller, subscription_id: int) -> Call[Subscription]:
    """One subscription."""
    return get(caller, under(SUBSCRIPTIONS, subscription_id), _ONE)


def change(
    caller: Caller,
    subscription_id: int,
    *,
    name: str | UnsetType = UNSET,
    topics: list[str] | UnsetType = UNSET,
    config: dict[str, Any] | UnsetType = UNSET,
    secrets: dict[str, Any] | UnsetType = UNSET,
    filter: dict[str, Any] | UnsetType | None = UNSET,
    owner: str | UnsetType | None = UNSET,
    group_id: int | UnsetType | None = UNSET,
    client: str | UnsetType | None = UNSET,
    schedule: list[float] | UnsetType | None = UNSET,
    ordered_by: str | UnsetType | None = UNSET,
    if_match: str | None = None,
) -> Call[Subscription]:
    """What is left out stays, inside of `config` and `secrets` too."""
    whose = {"owner": owner, "group_id": group_id, "client": client}
    how = {"config": config, "secrets": secrets, "filter": filter, "schedule": schedule, "ordered_by": ordered_by}
    given = {"name": name, "topics": topics, **whose, **how}
    return send(caller, "PATCH", under(SUBSCRIPTIONS, subscription_id), _ONE, given, if_match=if_match)


def remove(caller: Caller, subscription_id: int, *, if_match: str | None = None) -> Call[None]:
    """Ends it; what was still to be delivered is cancelled."""
    return send(caller, "DELETE", under(SUBSCRIPTIONS, subscription_id), nothing, if_match=if_match)


def disable(
    caller: Caller, subscription_id: int, why: str | UnsetType = UNSET, *, if_match: str | None = None
) -> Call[Subscription]:
    """Switches it off."""
    return send(caller, "POST", under(SUBSCRIPTIONS, subscription_id, "disable"), _ONE, {"why": why}, if_match=if_match)


def enable(caller: Caller, subscription_id: int, *, if_match: str | None = None) -> Call[Subscription]:
    """Switches it on again."""
    return send(caller, "POST", under(SUBSCRIPTIONS, subscription_id, "enable"), _ONE, if_match=if_match)


def replay(
    caller: Caller,
    subscription_id: int,
    since: datetime,
    *,
    until: datetime | UnsetType = UNSET,
    rate: int | UnsetType = UNSET,
    dry_run: bool = False,
) -> Call[Replayed]:
    """Gives it what was never for it, of messages that were accepted in that time; `rate` a second."""
    given: dict[str, Any] = {"since": since, "until": until, "rate": rate, "dry_run": dry_run}
    return send(caller, "POST", under(SUBSCRIPTIONS, subscription_id, "replay"), _REPLAYED, given)


class SubscriptionMethods:
    """Of the clients."""

    subscriptions = Method(page)
    subscribe = Method(create)
    subscription = Method(one)
    change_subscription = Method(change)
    remove_subscription = Method(remove)
    disable_subscription = Method(disable)
    enable_subscription = Method(enable)
    replay_subscription = Method(replay)


_PAGE = reader(Page[Subscription])
_ONE = versioned(Subscription)
_REPLAYED = reader(Replayed)
