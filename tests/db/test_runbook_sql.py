"""The statements that operators' runbooks hold, on the server that they are meant for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pymysql
import pytest
from support.installed import Installed, forget_written_keys
from support.servers import SqlServer

from messagebroker.db import schema
from messagebroker.db.connection import open_database
from messagebroker.db.models import DataKey, Message, MessageAlias
from messagebroker.ops import audit, clock, ids
from messagebroker.settings import load

DELETE = "DELETE FROM messages WHERE created_at < DATE_SUB(NOW(), INTERVAL 90 DAY)"
STATISTICS = """
SELECT
    COUNT(*) as total_messages,
    SUM(CASE WHEN status='delivered' THEN 1 ELSE 0 END) as delivered,
    SUM(CASE WHEN status='pending' THEN 1 ELSE 0 END) as pending,
    SUM(CASE WHEN status='failed' THEN 1 ELSE 0 END) as failed
FROM messages
WHERE DATE(created_at) = CURDATE()
"""
SIZES = """
SELECT
    table_name,
    ROUND(((data_length + index_length) / 1024 / 1024), 2) AS "Size (MB)"
FROM information_schema.TABLES
WHERE table_schema = "message_system"
"""


@pytest.fixture
def installed(sql_server: SqlServer, tmp_path: Path) -> Iterator[Installed]:
    """In the database `message_system` itself, as the runbooks name it."""
    sql_server.execute("DROP DATABASE IF EXISTS message_system", "CREATE DATABASE message_system CHARACTER SET utf8mb4")
    url = sql_server.url()
    opened = open_database(load({}, data_dir=tmp_path, environment="test", database_url=url))
    schema.upgrade()
    forget_written_keys()
    yield Installed(tmp_path, database_url=url)
    opened.close()
    opened.close_all()


@pytest.fixture
def shell(installed: Installed, sql_server: SqlServer) -> Iterator[Any]:
    """`mysql -u systemuser -p message_system`: a session with the server's own settings, not with ours."""
    with closing(
        pymysql.connect(host="127.0.0.1", port=sql_server.port, user="systemuser", password="test", database="message_system")
    ) as connection:
        connection.autocommit(True)
        yield lambda statement: _rows(connection, statement)


def _rows(connection: Any, statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def store(installed: Installed, days: float, status: str) -> bytes:
    moment = clock.now() - timedelta(days=days)
    [made] = installed.store(1, id=ids.floor(moment)[:8] + ids.new()[8:], accepted_at=clock.micros(moment))
    Message.update(status=status).where(Message.id == made).execute()
    return made


def test_messages_older_than_90_days_are_deleted_with_what_hangs_on_them(installed: Installed, shell: Any) -> None:
    old, new = store(installed, 91, "delivered"), store(installed, 89, "delivered")
    for alias, message in ((b"a" * 16, old), (b"b" * 16, new)):
        MessageAlias.insert(id=alias, message=message, created_at=clock.now()).execute()
    shell(DELETE)
    assert [bytes(row.id) for row in Message.select()] == [new]
    assert [bytes(row.id) for row in MessageAlias.select()] == [b"b" * 16]
    assert DataKey.select().count() == 1, "the new message can still be opened"
    assert installed.body_of(new) == "a message 0"
    assert shell("OPTIMIZE TABLE messages")[-1][-1] == "OK"


def test_the_statistics_of_today(installed: Installed, shell: Any) -> None:
    for status in ("delivered", "delivered", "pending", "failed", "scheduled"):
        store(installed, 0, status)
    store(installed, 2, "delivered")
    [row] = shell(STATISTICS)
    assert [int(value) for value in row] == [5, 2, 1, 1]


def test_sizes_counts_and_the_audit_log(installed: Installed, shell: Any) -> None:
    names = {row[0] for row in shell(SIZES)}
    assert {"messages", "users", "audit_log"} <= names
    assert {"messages", "users", "audit_log"} <= {row[0] for row in shell("SHOW TABLES")}
    for action in ("one", "two"):
        audit.record("cli:test", action, "user", "x")
    rows = shell("SELECT * FROM audit_log ORDER BY created_at DESC LIMIT 100")
    assert ["two" in row for row in rows] == [True, False]
    assert shell("SELECT COUNT(*) FROM messages") == [(0,)]
