"""Pages at depth are read through an index. What the API makes of them is in tests/http/main/test_messages.py."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import peewee as pw
import pytest
from support.servers import SqlServer

from messagebroker.db import inspection, schema
from messagebroker.db.connection import connected, open_database
from messagebroker.db.models import Message
from messagebroker.ops import clock, cursors, ids, messages
from messagebroker.ops.messages import Filters
from messagebroker.settings import Settings, load

ROWS = 6000
EVERY = {"failed": 50, "scheduled": 40}  # one row in so many


def row(number: int, began: Any) -> dict[str, Any]:
    status = next((status for status, every in EVERY.items() if number % every == 0), "delivered")
    created = began + timedelta(milliseconds=number)
    return {
        "id": ids.floor(created)[:8] + number.to_bytes(8, "big"), "client_id": f"client-{number % 5}", "topic": "t",
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


def id_query(filters: Filters) -> pw.ModelSelect:
    by_due = filters.status in messages.DUE_STATUSES
    query: pw.ModelSelect = messages._by_due(filters) if by_due else messages._by_id(filters)
    return query.limit(filters.limit + 1)


def touched_by(work: Callable[[], object]) -> int:
    """How many rows or index entries the server read for it."""
    with connected():
        before = handler_reads()
        work()
        return handler_reads() - before


def handler_reads() -> int:
    counted = Message._meta.database.execute_sql("SHOW SESSION STATUS LIKE 'Handler_read_%%'", ()).fetchall()
    return sum(int(value) for name, value in counted if name != "Handler_read_rnd_next")  # SHOW counts there itself


def explain() -> str:
    """As a table: MySQL 9 draws a tree unless asked, and MariaDB does not know how to be asked."""
    return "EXPLAIN" if "MariaDB" in inspection.server() else "EXPLAIN FORMAT=TRADITIONAL"


def rows_by_name(sql: str, parameters: list[Any]) -> list[dict[str, Any]]:
    found = Message._meta.database.execute_sql(sql, parameters)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize(
    ("which", "index"),
    [
        ({}, "PRIMARY"),
        ({"client": "client-3"}, "messages_client_id_id"),
        ({"status": "delivered"}, "messages_status_due_at|PRIMARY"),  # nearly every row is: either finds a page at once
        ({"status": "failed"}, "messages_status_due_at"),
        ({"status": "scheduled"}, "messages_status_due_at"),
    ],
)
def test_a_page_in_the_middle_is_found_by_an_index_and_not_sorted(
    deep_table: list[bytes], which: dict[str, str], index: str, newest_first: bool
) -> None:
    middle = deep_table[ROWS // 2]
    if which.get("status") == "scheduled":
        with connected():
            due = Message.get(Message.id == middle).created_at
        cursor = cursors.of_due(due, middle)
    else:
        cursor = cursors.of_id(middle)
    filters = Filters(cursor=cursor, newest_first=newest_first, limit=50, **which)
    sql, parameters = id_query(filters).sql()
    with connected():
        [plan] = rows_by_name(f"{explain()} {sql}", parameters)
    assert plan["key"] in index.split("|")
    assert "filesort" not in (plan["Extra"] or "")
    assert "temporary" not in (plan["Extra"] or "")
    assert touched_by(lambda: list(id_query(filters).tuples())) < 200, "it costs as much at the ends"


def test_the_counter_of_the_test_above_sees_a_scan(deep_table: list[bytes]) -> None:
    scan = Message.select(Message.id).where(Message.topic == "t").order_by(Message.id).offset(ROWS - 1)
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
