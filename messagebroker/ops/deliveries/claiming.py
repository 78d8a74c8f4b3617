"""Taking deliveries that are due, each by one worker: found by an index, claimed by an update that counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from messagebroker.db.connection import database, is_mysql
from messagebroker.db.hints import PRIMARY, by_index
from messagebroker.db.models import Delivery
from messagebroker.db.writing import kept_connection, time_now, writing
from messagebroker.errors import Unavailable
from messagebroker.ops.deliveries.claimed import Claimed, Pair, among, held_by
from messagebroker.ops.deliveries.following import follow
from messagebroker.ops.deliveries.routing import LEASE_SECONDS
from messagebroker.ops.due import database_now, lock_messages

LIMIT = 500
"""Deliveries of one claim."""

CRASH_LIMIT = 3
"""Workers that may end with a delivery in their hands before it is a dead letter."""

LAST_CHANCE = CRASH_LIMIT - 1
"""Crashes after which a delivery is in a process' hands without another such one, so that of those which were there when
workers ended only the one that ends them becomes a dead letter."""

_AT_ONCE = 100  # subscriptions in one statement
_INDEX = "deliveries_status_priority_subscription_id_due_at"


@dataclass(frozen=True, kw_only=True)
class Due:
    """A subscription's pending deliveries of a priority, the first of which is due."""

    priority: int
    subscription_id: int
    since: datetime | None


def due() -> list[Due]:
    """What may be claimed now, the most urgent first.

    One look into the index for each subscription and priority that has something pending, however much that is.

    Raises:
        Unavailable: the database does not answer.
    """
    first = "SELECT priority, subscription_id, MIN(due_at) AS first_due FROM deliveries"  # the names are the program's own
    sql = (
        f"{first}{by_index(_INDEX)} WHERE status = 'pending' GROUP BY status, priority, subscription_id"
        f" HAVING MIN(due_at) <= {time_now().sql} ORDER BY priority, first_due"
    )
    with kept_connection():
        found = database.execute_sql(sql).fetchall()
    return [
        Due(priority=priority, subscription_id=subscription, since=Delivery.due_at.python_value(since))
        for priority, subscription, since in found
    ]


def claim(
    wanted: Sequence[tuple[Due, int]], *, holder: bytes, lease_seconds: float = LEASE_SECONDS, last_chances: int = 1
) -> list[Claimed]:
    """Takes up to so many deliveries of each group, with their messages.

    Args:
        wanted: groups and how many of each, the most urgent first; LIMIT is the most in all.
        holder: 16 bytes that stand for the caller.
        lease_seconds: from now, by the database's clock.
        last_chances: how many of those may be among them that one more crash makes dead letters.

    Raises:
        Unavailable: the database does not answer.
    """
    return claim_chosen(_pairs(wanted, last_chances), holder=holder, lease_seconds=lease_seconds)


def claim_chosen(pairs: Sequence[Pair], *, holder: bytes, lease_seconds: float) -> list[Claimed]:
    """Takes those of these that are still pending and due: others may have been faster.

    Raises:
        Unavailable: the database does not answer.
    """
    if not pairs:
        return []
    with writing():
        _begin_messages(pairs)
        now = database_now()
        fields = {"status": "processing", "holder": holder, "due_at": now + timedelta(seconds=lease_seconds)}
        condition = among(pairs) & (Delivery.status == "pending") & (Delivery.due_at <= time_now())
        Delivery.update(**fields).where(condition).execute()
        claimed = held_by(holder, pairs, now)
    with suppress(Unavailable):  # then it happens when their leases end
        _expire([(one.message_id, one.subscription_id) for one in claimed if one.is_over], holder)
    return [one for one in claimed if not one.is_over]


def _expire(pairs: Sequence[Pair], holder: bytes) -> None:
    """Ends what came back from somebody's hands after its message's time. In a transaction of its own: messages are locked
    first."""
    if not pairs:
        return
    messages = {message for message, _ in pairs}
    with writing():
        lock_messages(messages)
        held = among(pairs) & (Delivery.status == "processing") & (Delivery.holder == holder)
        fields = {"status": "expired", "holder": None, "due_at": None, "ended_at": time_now()}
        Delivery.update(**fields).where(held).execute()
        follow(messages)


def _pairs(wanted: Sequence[tuple[Due, int]], last_chances: int = 1) -> list[Pair]:
    found = _read(wanted)
    last = [one for one in found if one[2] >= LAST_CHANCE]
    if len(last) > last_chances:  # those that have to wait hold up nobody behind them
        found = last[:last_chances] + _read(wanted, f" AND crashes < {LAST_CHANCE:d}")
    rooms: dict[int, int] = defaultdict(int)
    for group, room in wanted:
        rooms[group.subscription_id] += room
    chosen: list[Pair] = []
    for message_id, subscription, _ in found[:LIMIT]:
        if rooms[subscription] > 0:
            rooms[subscription] -= 1
            chosen.append((message_id, subscription))
    return sorted(chosen)


def _read(wanted: Sequence[tuple[Due, int]], condition: str = "") -> list[tuple[bytes, int, int]]:
    """Keys and crashes of what could be taken, LIMIT at most."""
    found: list[tuple[bytes, int, int]] = []
    with kept_connection():
        for at in range(0, len(wanted), _AT_ONCE):
            left = LIMIT - len(found)
            if left <= 0:
                break
            found += _first_of(wanted[at : at + _AT_ONCE], left, condition)
    return found


def _first_of(wanted: Sequence[tuple[Due, int]], most: int, condition: str) -> list[tuple[bytes, int, int]]:
    """Of the first pending ones of each group; the condition is the program's own words."""
    parts = []
    for group, room in wanted:
        text = (
            f"SELECT message_id, subscription_id, crashes FROM deliveries{by_index(_INDEX)} WHERE status = 'pending'"  # nosec B608 # noqa: S608
            f" AND priority = {group.priority:d} AND subscription_id = {group.subscription_id:d}"
            f" AND due_at <= {time_now().sql}{condition} ORDER BY due_at LIMIT {min(room, most):d}"
        )
        parts.append(f"({text})" if is_mysql() else f"SELECT * FROM ({text})")  # nosec B608 # noqa: S608
    sql = " UNION ALL ".join(parts) + f" LIMIT {most:d}"
    return [(bytes(message), number, crashes) for message, number, crashes in database.execute_sql(sql).fetchall()]


def _begin_messages(pairs: Sequence[Pair]) -> None:
    """Messages are locked before their deliveries, everywhere and in the order of ids, so that nobody waits in a circle.

    The statement names the primary key: by another index it would lock that one's entries first, and others the rows.
    """
    messages = ",".join(sorted({f"X'{pair[0].hex()}'" for pair in pairs}))
    database.execute_sql(
        f"UPDATE messages{by_index(PRIMARY)} SET status = 'processing', due_at = expires_at"  # nosec B608 # noqa: S608
        f" WHERE id IN ({messages}) AND status IN ('pending', 'scheduled')"
    )


def give_back(pairs: Sequence[Pair], holder: bytes) -> int:
    """Deliveries that were claimed and not begun: others may have them at once. How many they were."""
    if not pairs:
        return 0
    with writing():
        held = among(pairs) & (Delivery.status == "processing") & (Delivery.holder == holder)
        return int(Delivery.update(status="pending", due_at=time_now(), holder=None).where(held).execute())
