"""What a client takes of its subscription: chosen by urgency, and in order where that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from messagebroker.db.connection import database, is_mysql
from messagebroker.db.hints import by_index
from messagebroker.db.models import OPEN_DELIVERIES
from messagebroker.db.writing import kept_connection, time_now
from messagebroker.ops import steering
from messagebroker.ops.deliveries.claimed import Claimed, Pair
from messagebroker.ops.deliveries.claiming import claim_chosen

BY_DUE = "deliveries_status_priority_subscription_id_due_at"
_BY_KEY = "deliveries_subscription_id_status_order_key_message_id"

LOOKED_AT = 500
"""Due deliveries of a priority among which those are looked for whose turn it is, before all keys are."""


def claim_for(
    subscription_id: int, limit: int, *, holder: bytes, lease_seconds: float, ordered: bool, most_bytes: int
) -> list[Claimed]:
    """The next deliveries of one subscription, the most urgent first.

    Args:
        subscription_id: whose.
        limit: how many.
        holder: 16 bytes that stand for the caller, and for this call alone.
        lease_seconds: from now, by the database's clock.
        ordered: a message waits while an earlier one of its key is open, whoever has it.
        most_bytes: of bodies; the first one may be larger.

    Raises:
        Unavailable: the database does not answer.
    """
    while chosen := _chosen(subscription_id, limit, ordered, most_bytes):
        claimed = claim_chosen(sorted(chosen), holder=holder, lease_seconds=lease_seconds)
        if claimed:
            position = {pair[0]: number for number, pair in enumerate(chosen)}
            return sorted(claimed, key=lambda one: position[one.message_id])
    return []  # others may have taken what was chosen: then there was another look


def _chosen(subscription_id: int, limit: int, ordered: bool, most_bytes: int) -> list[Pair]:
    priorities = steering.running()
    if not priorities:
        return []
    with kept_connection():
        found = _first(subscription_id, priorities, limit, ordered)
        if ordered and not found:  # all that were looked at wait for others of their keys
            found = _rows(_heads(subscription_id, priorities, limit))
    chosen: list[Pair] = []
    for message_id, size in found:
        most_bytes -= size
        if chosen and most_bytes < 0:
            break
        chosen.append((bytes(message_id), subscription_id))
    return chosen


def _first(subscription_id: int, priorities: Sequence[int], limit: int, ordered: bool) -> list[tuple[bytes, int]]:
    parts = (_part(subscription_id, priority, limit, ordered) for priority in priorities)
    return _rows(f"{' UNION ALL '.join(parts)} LIMIT {limit:d}")


def _rows(sql: str) -> list[tuple[bytes, int]]:
    return list(database.execute_sql(sql).fetchall())


def _part(subscription_id: int, priority: int, limit: int, ordered: bool) -> str:
    """The first ones of a priority: of as many as LOOKED_AT where there is an order. What has expired is left to those who
    end it."""
    now = time_now().sql
    due = (
        f"d.status = 'pending' AND d.priority = {priority:d} AND d.subscription_id = {subscription_id:d} AND d.due_at <= {now}"
    )
    source = f"deliveries d{by_index(BY_DUE)}"
    if ordered:
        columns = "d.message_id, d.subscription_id, d.order_key, d.due_at"
        source = f"(SELECT {columns} FROM {source} WHERE {due} ORDER BY d.due_at LIMIT {LOOKED_AT:d}) d"  # nosec B608 # noqa: S608
    text = (
        f"SELECT d.message_id, m.size FROM {source} JOIN messages m ON m.id = d.message_id"  # nosec B608 # noqa: S608
        f" WHERE (m.expires_at IS NULL OR m.expires_at > {now}){_in_order() if ordered else f' AND {due}'}"
        f" ORDER BY d.due_at LIMIT {limit:d}"
    )
    return f"({text})" if is_mysql() else f"SELECT * FROM ({text})"  # nosec B608 # noqa: S608


def _in_order() -> str:
    """Nothing earlier of the same key is open. What has no key is in no order.

    Each subquery reads one entry of the index: a test for existence would read all that is open, or was ever. They name
    all its columns as the order, since MySQL takes what comes from the outer row for a variable, and would sort.
    """
    return "".join(
        f" AND COALESCE((SELECT e.message_id FROM deliveries e{by_index(_BY_KEY)}"  # nosec B608 # noqa: S608
        f" WHERE e.subscription_id = d.subscription_id AND e.status = '{status}' AND e.order_key = d.order_key"
        " ORDER BY e.subscription_id, e.status, e.order_key, e.message_id LIMIT 1) < d.message_id, 0) = 0"
        for status in OPEN_DELIVERIES
    )


def _heads(subscription_id: int, priorities: Sequence[int], limit: int) -> str:
    """The first pending one of each key, however many are behind it: the index is read once for each key that is open."""
    now = time_now().sql
    heads = (
        f"SELECT MIN(message_id) AS message_id FROM deliveries{by_index(_BY_KEY)} WHERE subscription_id = {subscription_id:d}"  # nosec B608 # noqa: S608
        " AND status = 'pending' GROUP BY subscription_id, status, order_key"
    )
    return (
        f"SELECT d.message_id, m.size FROM ({heads}) h JOIN deliveries d ON d.message_id = h.message_id"  # nosec B608 # noqa: S608
        f" AND d.subscription_id = {subscription_id:d} JOIN messages m ON m.id = d.message_id"
        f" WHERE d.priority IN ({','.join(map(str, priorities))}) AND d.due_at <= {now}"
        f" AND (m.expires_at IS NULL OR m.expires_at > {now}){_in_order()} ORDER BY d.priority, d.due_at LIMIT {limit:d}"
    )
