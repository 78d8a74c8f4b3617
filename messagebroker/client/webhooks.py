"""How webhooks do, their attempts, and what can be done about them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, Page, get, nothing, send, under
from messagebroker.client.subscriptions import Subscription

WEBHOOKS = "/api/v1/webhooks"
NETWORKS = WEBHOOKS + "/allowed-networks"


class Attempt(Struct, frozen=True, kw_only=True):
    """One try. `id`, `message_id` and what follows are in logs."""

    started_at: datetime
    duration_ms: int
    code: int | None = None
    error: str | None = None
    id: int | None = None
    message_id: str | None = None
    number: int | None = None
    outcome: str | None = None
    request: dict[str, str] | None = None  # headers, secrets masked
    answer: str | None = None
    asked_by: str | None = None


class Webhook(Subscription, frozen=True, kw_only=True):
    """A webhook and how it does; deliveries are counted up to 10,000."""

    pending: int = 0
    processing: int = 0
    failed: int = 0
    oldest_due_at: datetime | None = None
    last_success: Attempt | None = None
    last_failure: Attempt | None = None
    breaker: str | None = None
    breaker_since: datetime | None = None


class Tested(Struct, frozen=True, kw_only=True):
    """What came of a test event."""

    delivered: bool
    message_id: str
    duration_ms: int
    code: int | None = None
    error: str | None = None
    request: dict[str, str] = field(default_factory=dict)
    answer: str = ""


class Resent(Struct, frozen=True, kw_only=True):
    """When the message goes out again."""

    message_id: str
    due_at: datetime


class Recovered(Struct, frozen=True, kw_only=True):
    """`more`: there were more than fit in one call."""

    found: int
    recovered: int
    more: bool = False
    lasts_seconds: float = 0.0


class Rotated(Struct, frozen=True, kw_only=True):
    """The new secret, shown this once."""

    signing_secret: str
    old_until: datetime


class Network(Struct, frozen=True, kw_only=True):
    """A private network that webhooks may reach."""

    network: str
    reason: str
    added_by: str
    added_at: datetime


def page(caller: Caller, *, limit: int = 50, cursor: str | None = None) -> Call[Page[Subscription]]:
    """A part of the subscriptions that are webhooks."""
    return get(caller, WEBHOOKS, _PAGE, limit=limit, cursor=cursor)


def one(caller: Caller, subscription_id: int) -> Call[Webhook]:
    """How one does."""
    return get(caller, under(WEBHOOKS, subscription_id), _ONE)


def logs(
    caller: Caller,
    subscription_id: int,
    *,
    outcome: str | None = None,
    answers: bool = False,
    limit: int = 50,
    cursor: str | None = None,
) -> Call[Page[Attempt]]:
    """A part of its attempts, newest first; with `answers`, what the receiver said, which the audit log keeps."""
    path, wanted = under(WEBHOOKS, subscription_id, "logs"), "true" if answers else None
    return get(caller, path, _LOGS, outcome=outcome, answers=wanted, limit=limit, cursor=cursor)


def test(caller: Caller, subscription_id: int) -> Call[Tested]:
    """Sends a signed event that is stored nowhere, at once."""
    return send(caller, "POST", under(WEBHOOKS, subscription_id, "test"), _TESTED)


def resend(caller: Caller, subscription_id: int, message_id: str) -> Call[Resent]:
    """One message again, under the id that it had."""
    return send(caller, "POST", under(WEBHOOKS, subscription_id, "resend"), _RESENT, {"message_id": message_id})


def recover(
    caller: Caller,
    subscription_id: int,
    since: datetime,
    *,
    until: datetime | UnsetType = UNSET,
    rate: int | UnsetType = UNSET,
    dry_run: bool = False,
) -> Call[Recovered]:
    """All that failed, of messages that were accepted in that time; `rate` a second."""
    given: dict[str, Any] = {"since": since, "until": until, "rate": rate, "dry_run": dry_run}
    return send(caller, "POST", under(WEBHOOKS, subscription_id, "recover"), _RECOVERED, given)


def rotate_secret(caller: Caller, subscription_id: int, *, overlap_hours: float | UnsetType = UNSET) -> Call[Rotated]:
    """A new signing secret; the old one is used too for a while."""
    given = {"overlap_hours": overlap_hours}
    return send(caller, "POST", under(WEBHOOKS, subscription_id, "rotate-secret"), _ROTATED, given)


def networks(caller: Caller, *, limit: int = 50, cursor: str | None = None) -> Call[Page[Network]]:
    """A part of the private networks that webhooks may reach."""
    return get(caller, NETWORKS, _NETWORKS, limit=limit, cursor=cursor)


def allow(caller: Caller, network: str, reason: str) -> Call[Network]:
    """Lets webhooks reach one."""
    return send(caller, "POST", NETWORKS, _NETWORK, {"network": network, "reason": reason})


def disallow(caller: Caller, network: str, reason: str) -> Call[None]:
    """Takes it off the list."""
    return send(caller, "POST", under(NETWORKS, "remove"), nothing, {"network": network, "reason": reason})


class WebhookMethods:
    """Of the clients."""

    webhooks = Method(page)
    webhook = Method(one)
    webhook_logs = Method(logs)
    test_webhook = Method(test)
    resend_webhook = Method(resend)
    recover_webhook = Method(recover)
    rotate_webhook_secret = Method(rotate_secret)
    allowed_networks = Method(networks)
    allow_network = Method(allow)
    disallow_network = Method(disallow)


_PAGE = reader(Page[Subscription])
_ONE = reader(Webhook)
_LOGS = reader(Page[Attempt])
_TESTED = reader(Tested)
_RESENT = reader(Resent)
_RECOVERED = reader(Recovered)
_ROTATED = reader(Rotated)
_NETWORKS = reader(Page[Network])
_NETWORK = reader(Network)
