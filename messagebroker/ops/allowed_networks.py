"""Private networks that webhooks may reach all the same: few, with a reason, on record."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import peewee as pw

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.errors import Conflict, NotFound
from messagebroker.ops import audit, clock
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change
from messagebroker.ops.fields import WrongField

AllowedNetwork: Any = models.AllowedNetwork

LONGEST_REASON = 500
_WIDEST = {4: 8, 6: 7}  # as 10.0.0.0/8 and fc00::/7


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A network in CIDR notation."""

    network: str
    reason: str
    added_by: str
    added_at: datetime


def page(*, limit: int, after: str | None = None) -> list[Entry]:
    """Up to `limit` of them in the order of their text, after the network `after`."""
    query = AllowedNetwork.select().order_by(AllowedNetwork.network).limit(limit)
    with connected():
        rows = list(query if after is None else query.where(AllowedNetwork.network > after))
    return [_entry(row) for row in rows]


def add(network: str, reason: str, actor: Actor) -> Entry:
    """Lets webhooks reach it.

    Raises:
        WrongField: it is no network, not a private one or too wide a one; there is no reason.
        Conflict: it is allowed already.
    """
    text, why = _network(network), _reason(reason)
    with change():
        try:
            AllowedNetwork.insert(network=text, reason=why, added_by=actor.name, added_at=clock.now()).execute()
        except pw.IntegrityError as error:
            raise Conflict(f"{text} is allowed already") from error
        audit.record_by(actor, "network.allow", "network", text, {"reason": why})
        return _entry(AllowedNetwork.get_by_id(text))


def remove(network: str, reason: str, actor: Actor) -> None:
    """Webhooks do not reach it any more, from about a second later on.

    Raises:
        WrongField: it is no network; there is no reason.
        NotFound: it is not allowed.
    """
    text, why = _network(network), _reason(reason)
    with change():
        if not AllowedNetwork.delete().where(AllowedNetwork.network == text).execute():
            raise NotFound(f"{text} is not on the list; `messagebroker webhooks allowed` shows it")
        audit.record_by(actor, "network.disallow", "network", text, {"reason": why})


def _network(text: str) -> str:
    try:
        network = ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise WrongField("network", f"is no network such as 10.1.0.0/16 or fd00:1::/32 ({error})") from None
    if network.prefixlen < _WIDEST[network.version]:
        raise WrongField("network", f"{network} is too wide; the widest is /{_WIDEST[network.version]}")
    if network.is_global or network.is_multicast:
        raise WrongField("network", f"{network} is not private: there is nothing to allow")
    return str(network)


def _reason(text: str) -> str:
    text = text.strip()
    if not (0 < len(text) <= LONGEST_REASON and text.isprintable()):
        raise WrongField("reason", f"says in 1 to {LONGEST_REASON} printable characters why")
    return text


def _entry(row: Any) -> Entry:
    return Entry(network=row.network, reason=row.reason, added_by=row.added_by, added_at=row.added_at)
