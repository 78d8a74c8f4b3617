"""Subscriptions as the API shows and takes them, and who may do what with one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from messagebroker.db.models import User
from messagebroker.http.main.callers import Caller
from messagebroker.http.main.client_views import ClientName, GroupId, Owner, Pattern
from messagebroker.http.main.people import number
from messagebroker.http.problems import Problem
from messagebroker.ops import subscriptions
from messagebroker.ops.channels import CHANNELS
from messagebroker.ops.patterns import MOST_PATTERNS
from messagebroker.ops.permissions import Permission
from messagebroker.ops.subscription_access import owns
from messagebroker.ops.subscription_fields import FIELDS, LONGEST_NAME, MOST_TRIES, Filter
from messagebroker.ops.subscriptions import Details

PATH = "/api/v1/subscriptions"
ONE = PATH + "/{subscription_id}"
SubscriptionId = Annotated[int, Meta(ge=1)]
IDS: dict[str, object] = {"subscription_id": SubscriptionId}
READ, MANAGE, ACT, OWN = (
    Permission.SUBSCRIPTIONS_READ,
    Permission.SUBSCRIPTIONS_MANAGE,
    Permission.WEBHOOKS_ACT,
    Permission.SUBSCRIPTIONS_OWN,
)

Instant = Annotated[datetime, Meta(tz=True)]
Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
Channel = Annotated[str, Meta(min_length=1, max_length=20, description=f"One of {', '.join(CHANNELS)}.")]
Patterns = Annotated[list[Pattern], Meta(min_length=1, max_length=MOST_PATTERNS)]
Config = Annotated[dict[str, Any], Meta(description="In the channel's own shape.")]
Secrets = Annotated[dict[str, Any], Meta(description="In the channel's own shape. Never shown again.")]
Pauses = Annotated[
    list[Annotated[float, Meta(ge=0)]], Meta(min_length=1, max_length=MOST_TRIES, description="Seconds before each try.")
]


class SubscriptionView(Struct, kw_only=True):
    """Who gets what, and how. `failures`: attempts in a row that failed; `has_secrets`: some are sealed."""

    id: int
    name: str
    channel: str
    topics: list[str]
    filter: Filter | None
    owner: str | None
    group_id: int | None
    client: str | None
    config: dict[str, Any]
    has_secrets: bool
    schedule: list[float] | None
    ordered_by: str | None
    created_at: datetime
    changed_at: datetime
    disabled_at: datetime | None
    disabled_why: str | None
    failures: int
    failing_since: datetime | None


class SubscriptionPage(Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[SubscriptionView]
    next: str | None


class SubscriptionMade(SubscriptionView, kw_only=True):
    """A new one. `signing_secret`: of a webhook, when the system drew it; it is not shown again. `warnings`: for people, why
    its deliveries would fail as things are now."""

    signing_secret: str | None
    warnings: list[str]


class SubscriptionFields(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What is left out stays, inside of `config` and `secrets` too; null stands for the default, or takes away."""

    name: Name | UnsetType = UNSET
    topics: Patterns | UnsetType = UNSET
    filter: Filter | UnsetType | None = UNSET
    owner: Owner | UnsetType | None = UNSET
    group_id: GroupId | UnsetType | None = UNSET
    client: ClientName | UnsetType | None = UNSET
    config: Config | UnsetType = UNSET
    secrets: Secrets | UnsetType = UNSET
    schedule: Pauses | UnsetType | None = UNSET
    ordered_by: Annotated[str, Meta(max_length=20)] | UnsetType | None = UNSET

    def given(self) -> dict[str, Any]:
        """Those that were sent."""
        found = {field: value for field in FIELDS if (value := getattr(self, field, UNSET)) is not UNSET}
        if isinstance(found.get("filter"), Filter):
            found["filter"] = msgspec.to_builtins(found["filter"])
        return found


class NewSubscription(SubscriptionFields, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A subscription to make."""

    name: Name
    channel: Channel
    topics: Patterns


class WhichTime(Struct, forbid_unknown_fields=True, kw_only=True):
    """Messages that were accepted from `since` on, and before `until` (null: now). `rate`: messages a second."""

    since: Instant
    until: Instant | None = None
    rate: Annotated[int, Meta(ge=1, le=1000)] = 50
    dry_run: bool = False

    def require_order(self) -> None:
        """Raises a 422 problem for a time that ends before it begins."""
        if self.until is not None and self.until <= self.since:
            raise Problem(422, "invalid-field", "is not after since", field="until")


def view_of(details: Details) -> SubscriptionView:
    """A subscription as it is shown."""
    return msgspec.convert(details, SubscriptionView, from_attributes=True)


def settled(view: SubscriptionView) -> SubscriptionView:
    """What people decide about it, for its tag: failures come and go with every attempt, and change nothing of that."""
    return msgspec.structs.replace(view, failures=0, failing_since=None)


def reader_of(caller: Caller) -> User | None:
    """None when the caller sees every subscription; else the person, who sees theirs."""
    return None if caller.may(READ) else caller.person


def seen(caller: Caller, subscription_id: str) -> Details:
    """The subscription of a path; to those who may not see it, one that never was.

    Raises:
        NotFound, Problem: as said.
    """
    return subscriptions.find(number(subscription_id, "subscription"), only_of=reader_of(caller))


def acted_on(caller: Caller, subscription_id: str) -> Details:
    """The same, for who may act on it: its owner too, and nobody else of its group.

    Raises:
        NotFound, Problem: there is none, or none for them; a 403 for those who may only look.
    """
    details = seen(caller, subscription_id)
    require_act(caller, details)
    return details


def require_act(caller: Caller, details: Details) -> None:
    """Raises a 403 problem for those who may only look."""
    assert caller.person is not None
    if not (caller.may(ACT) or owns(caller.person, details)):
        raise Problem(403, "forbidden", "this is for its owner and for operators", permission=ACT)
