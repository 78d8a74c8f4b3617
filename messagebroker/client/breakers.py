"""Circuit breakers of destinations."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, Page, get, send, under

BREAKERS = "/api/v1/breakers"


class Breaker(Struct, frozen=True, kw_only=True):
    """The breaker of a subscription: `closed`, `open` (nothing is sent) or `half-open` (one probe is under way)."""

    subscription_id: int
    name: str
    state: str
    channel: str = ""
    since: datetime | None = None  # in this state
    failures: int = 0  # attempts in a row
    failing_since: datetime | None = None
    next_try: datetime | None = None  # None: at any time, or nobody can say
    disabled: bool = False


class BreakerEvent(Struct, frozen=True, kw_only=True):
    """A breaker came to a state."""

    id: int
    subscription_id: int
    created_at: datetime
    state: str
    why: str = ""


def page(caller: Caller, *, state: str | None = None, limit: int = 50, cursor: str | None = None) -> Call[Page[Breaker]]:
    """A part of all subscriptions' breakers, or of those in a state."""
    return get(caller, BREAKERS, _PAGE, state=state, limit=limit, cursor=cursor)


def events(
    caller: Caller, *, subscription_id: int | None = None, limit: int = 50, cursor: str | None = None
) -> Call[Page[BreakerEvent]]:
    """A part of what they did, newest first; of one subscription when asked."""
    return get(caller, under(BREAKERS, "events"), _EVENTS, subscription_id=subscription_id, limit=limit, cursor=cursor)


def reset(caller: Caller, subscription_id: int) -> Call[Breaker]:
    """Closes one: workers try its destination again within a second."""
    return send(caller, "POST", under(BREAKERS, subscription_id, "reset"), _BREAKER)


class BreakerMethods:
    """Of the clients."""

    breakers = Method(page)
    breaker_events = Method(events)
    reset_breaker = Method(reset)


_PAGE = reader(Page[Breaker])
_EVENTS = reader(Page[BreakerEvent])
_BREAKER = reader(Breaker)
