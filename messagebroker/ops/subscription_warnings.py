"""What is wrong with a subscription by the time that it is made: found now, and not by its first dead letter."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from messagebroker.db.connection import connected
from messagebroker.db.models import User
from messagebroker.errors import Unavailable
from messagebroker.ops import allow_list
from messagebroker.ops.destinations import destination
from messagebroker.ops.private_networks import why_not_public
from messagebroker.ops.subscriptions import Details
from messagebroker.settings import Settings


def warnings(settings: Settings, made: Details) -> list[str]:
    """Lines for people; none when deliveries can be made, as far as that is known without trying.

    Nothing is refused for them: the mail server, the user or the network may be added later. None either when the database
    goes away just then: the subscription is made, and it is not for its warnings that its maker hears of a failure.
    """
    with suppress(Unavailable):
        return _found(settings, made)
    return []


def _found(settings: Settings, made: Details) -> list[str]:
    if made.channel == "webhook":
        return _of_url(settings, made.config["url"])
    if made.channel == "email" and settings.smtp_host is None:
        return ["SMTP_HOST is not set, so that no e-mail can be sent; set it for main and the workers"]
    if made.channel == "inbox":
        return _of_user(made.config["user"])
    return []


def _of_url(settings: Settings, url: Any) -> list[str]:
    to = destination(url)
    if not to.is_literal:
        may_http = to.scheme == "https" or settings.webhook_allow_http
        told = f"{to.host} is asked for by http, which is refused unless it is in an allowed network; use https"
        return [] if may_http else [f"{told}, or set WEBHOOK_ALLOW_HTTP"]
    address = ip_address(to.host)
    why = why_not_public(address)
    if any(address.version == network.version and address in network for network in allow_list.read()):
        return []
    if why is not None:
        bits = 32 if address.version == 4 else 128
        return [f"{to.host} is {why}: deliveries fail until `messagebroker webhooks allow {to.host}/{bits} --reason …`"]
    if to.scheme == "http" and not settings.webhook_allow_http:
        return [f"{to.host} is asked for by http, which is refused; use https, or set WEBHOOK_ALLOW_HTTP"]
    return []


def _of_user(email: Any) -> list[str]:
    if email is None:
        return []
    with connected():
        found = User.get_or_none(User.email == email)
    return (
        [] if found is not None and found.email == email else [f"there is no user {email}: its messages will be dead letters"]
    )
