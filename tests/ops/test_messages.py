"""Pages at depth are read through an index. What the API makes of them is in tests/http/main/test_messages.py."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support.plans import counting_reads, explain, rows_by_name
from support.servers import SqlServer

from messagebroker.db import schema
from messagebroker.db.connection import connected, open_database
from messagebroker.db.models import Message
from messagebroker.ops import books, clock, cursors, filters, ids, messages, ranges
from messagebroker.ops.filters import Filters
from messagebroker.ops.scope import Scope
from messagebroker.settings import Settings, load

ROWS = 6000
EVERY = {"failed": 50, "scheduled": 40}  # one row in so many


def row(number: int, began: Any) -> dict[str, Any]:
    status = next((status for status, every in EVERY.items() if number % every == 0), "delivered")
    created = began + timedelta(milliseconds=number)
    return {
        "id": ids.floor(created)[:8] + number.to_bytes(8, "big"), "client_id": f"client-{number % 5}",
        "topic": f"topic.{number % 4}", "correlation_id": f"order {number % 3}", "sender_hash": bytes([number % 6]) * 16,
        "priority": 2, "status": status, "created_at": created, "stored_at": created, "size": 1,
        "due_at": created if status == "scheduled" else None, "data_key_id": bytes(16), "payload": b"x" * 250,
    }  # fmt: skip


@pytest.fixture(scope="module")
def deep_table(sql_server: SqlServer, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    settings: Settings = load(
        {}, data_dir=tmp_path_factory.mktemp("deep"), environment="test", database_url=sql_server.fresh("deep")
    )
    open_database(settings)
    schema.upgrade()
    began = clock.now() - timedelta(days=1)
    rows = [row(number, began) for number in range(ROWS)]
    with connected():
        for at in range(0, ROWS, 1000):
            Message.insert_many(rows[at : at + 1000]).execute()
        Message._meta.database.execute_sql("ANALYZE TABLE messages")
    return [row["id"] for row in rows]


def touched_by(work: Callable[[], object]) -> int:
    """How many rows or index entries the server read for it."""
    with counting_reads() as read:
        work()
    return read[0]


ASKED: dict[str, Any] = {
    "client": "client-3", "topic": "topic.2", "correlation_id": "order 1", "sender": bytes([4]) * 16, "status": "failed",
}  # fmt: skip
OFFERED = [(), *filters.OFFERED]
INDEXES = {
    (): "PRIMARY", ("client",): "messages_client_id_id", ("client", "status"): "messages_client_id_status_id",
    ("topic",): "messages_topic_status_id", ("topic", "status"): "messages_topic_status_id",
    ("status",): "messages_status_due_at", ("correlation_id",): "messages_correlation_id_id",
    ("sender",): "messages_sender_hash_id",
}  # fmt: skip
SCOPE = Scope(frozenset({"client-3", "client-4", "nobody"}), frozenset({"topic.1", "topic.2"}))


def assert_read_by(sql: str, values: list[Any], *indexes: str) -> None:
    """Every part of the statement that reads the table reads it by one of the indexes, and sorts nothing."""
    with connected():
        plans = [plan for plan in rows_by_name(f"{explain()} {sql}", values) if plan["table"] in ("messages", "t1")]
    assert plans
    for plan in plans:
        assert plan["key"] in indexes, plan
        assert plan["type"] != "ALL", plan
        assert "filesort" not in (plan["Extra"] or ""), plan
        assert "temporary" not in (plan["Extra"] or ""), plan


@pytest.mark.parametrize("span", [False, True])
@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("names", OFFERED)
def test_every_filter_that_is_offered_is_read_by_its_index(
    deep_table: list[bytes], names: tuple[str, ...], newest_first: bool, span: bool
) -> None:
    times = {"since": clock.now() - timedelta(days=2), "until": clock.now()} if span else {}
    asked = Filters(
        cursor=cursors.of_id(deep_table[ROWS // 2]), newest_first=newest_first, **{name: ASKED[name] for name in names}, **times
    )
    for part in asked.ranges():
        assert_read_by(*ranges.statement([part], asked.window()), INDEXES[names])
    assert_read_by(*ranges.statement(asked.ranges(), asked.window()), INDEXES[names])
    assert touched_by(lambda: messages.page(asked)) < 300, "it costs as much at the ends"


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("names", [(), *filters.OFFERED_IN_SCOPE])
def test_what_plain_users_see_is_read_by_the_same_indexes(
    deep_table: list[bytes], names: tuple[str, ...], newest_first: bool
) -> None:
    cursor = cursors.of_id(deep_table[ROWS // 2])
    asked = Filters(cursor=cursor, newest_first=newest_first, **{name: ASKED[name] for name in names})
    indexes = {INDEXES["client",], INDEXES["client", "status"], INDEXES["topic",]}
    assert_read_by(*ranges.statement(asked.ranges_in(SCOPE), asked.window()), *indexes)
    assert touched_by(lambda: messages.page(asked, SCOPE)) < 900


def test_a_status_that_hardly_a_row_has_is_found_as_fast(deep_table: list[bytes]) -> None:
    for asked in (Filters(status="expired"), Filters(topic="topic.1", status="cancelled"), Filters(client="nobody")):
        assert messages.page(asked) == ([], None)
        assert touched_by(lambda asked=asked: messages.page(asked)) < 10  # type: ignore[misc]


@pytest.mark.parametrize("newest_first", [True, False])
def test_scheduled_ones_are_read_in_the_order_of_their_time(deep_table: list[bytes], newest_first: bool) -> None:
    with connected():
        due = Message.get(Message.id == deep_table[ROWS // 2]).created_at
    asked = Filters(status="scheduled", cursor=cursors.of_due(due, deep_table[ROWS // 2]), newest_first=newest_first)
    assert_read_by(*messages._by_due(asked).limit(51).sql(), "messages_status_due_at")
    assert touched_by(lambda: messages.page(asked)) < 300


def test_a_clients_hours_are_counted_in_its_index(deep_table: list[bytes]) -> None:
    now = clock.now()
    found = books.counts("client-3", now - timedelta(days=2), now)
    assert sum(hour.stored for hour in found) == ROWS // 5
    assert touched_by(lambda: books.counts("client-3", now - timedelta(days=2), now)) < ROWS // 5 + 300


def test_the_counter_of_the_test_above_sees_a_scan(deep_table: list[bytes]) -> None:
    scan = Message.select(Message.id).where(Message.priority == 2).order_by(Message.id).offset(ROWS - 1)
    assert touched_by(lambda: list(scan.tuples())) >= ROWS - 1


def test_the_walk_through_the_deep_table_sees_every_failed_row_once(deep_table: list[bytes]) -> None:
    seen: list[str] = []
    cursor: str | None = None
    while True:
        items, cursor = messages.page(Filters(status="failed", limit=40, cursor=cursor))
        seen += [item.message_id for item in items]
        if cursor is None:
            break
    expected = [ids.text(message_id) for number, message_id in enumerate(deep_table) if number % EVERY["failed"] == 0]
    assert seen == expected[::-1]
