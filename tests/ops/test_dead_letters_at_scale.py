"""A hundred thousand dead letters, beside as many deliveries that went well: no statement reads the table from end to end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import peewee as pw
import pytest
from support import dead
from support.cast import TEST
from support.dead import DOWN, NOW, later
from support.plans import counting_reads, explain, rows_by_name, statements

from messagebroker.db import models
from messagebroker.db.bulk import insert
from messagebroker.db.connection import connected
from messagebroker.db.writing import give_up_connection
from messagebroker.ops import dead_letter_moves, dead_letters, ids
from messagebroker.ops.dead_letter_moves import preview, purge, retry, undo
from messagebroker.ops.dead_letter_pieces import PIECE, advance
from messagebroker.ops.dead_letter_selection import Position, Selection

EVERYTHING = Selection(all=True)

# MySQL takes four times as long to fill and to empty the tables, and plans no differently for fewer.
pytestmark = pytest.mark.parametrize(("database", "number"), [("mariadb", 100_000), ("mysql", 20_000)], indirect=["database"])


@pytest.fixture(autouse=True)
def _fresh(database: pw.Database) -> Iterator[None]:
    yield
    give_up_connection()


def fill(database: pw.Database, count: int) -> int:
    """Two subscriptions; each message failed for one, once before too, and was delivered to the other."""
    bad, good = dead.subscription("bad"), dead.subscription("good")
    begin = ids.floor(NOW)[:12]
    known = [f"X'{(begin + number.to_bytes(4, 'big')).hex()}'" for number in range(count)]
    then = f"'{NOW:%Y-%m-%d %H:%M:%S}'"
    columns = "id client_id topic priority status created_at stored_at routed attempts size data_key_id payload".split()  # noqa: SIM905
    plain = f"'acme','orders',2,'failed',{then},{then},1,8,5,X'{'00' * 16}','x'"
    insert(models.Message, columns, [f"({message},{plain})" for message in known])
    columns = "message_id subscription_id priority status attempts crashes created_at ended_at fingerprint".split()  # noqa: SIM905
    for number, status, mark in ((bad, "failed", f"'{DOWN}'"), (good, "delivered", "NULL")):
        plain = f"{number},2,'{status}',8,0,{then},{then},{mark}"
        insert(models.Delivery, columns, [f"({message},{plain})" for message in known])
    before: Any = models.DeadLetterMove.insert(
        kind="retry", selection="{}", reason="", created_by="x", created_at=NOW, total=count, state="final"
    )
    past = f"{before.execute()}"
    columns = ["move_id", "message_id", "subscription_id", "moved_at", "attempts"]
    insert(models.DeadLetterMoved, columns, [f"({past},{message},{bad},{then},8)" for message in known])
    for table in ("messages", "deliveries", "dead_letters_moved"):
        database.execute_sql(f"ANALYZE TABLE {table}").fetchall()
    return bad


def assert_by_indexes(sent: list[tuple[str, Any]]) -> None:
    """What is asked of the large tables."""
    looked_at = 0
    for sql, params in sent:
        if not any(f"`{table}`" in sql or f" {table}" in sql for table in ("messages", "deliveries", "dead_letters_moved")):
            continue
        if sql.startswith("INSERT"):
            continue
        for plan in rows_by_name(f"{explain()} {sql}", params):
            if plan["table"] is None or plan["table"].startswith("<") or plan["table"] == "subscriptions":
                continue
            looked_at += 1
            assert plan["key"], (sql[:600], plan)
            assert plan["type"] not in ("ALL", "index"), (sql[:600], plan)
    assert looked_at


def test_very_many_are_grouped_purged_put_back_and_retried(database: pw.Database, number: int) -> None:
    bad = fill(database, number)
    with connected(), statements() as sent, counting_reads() as read:
        [group] = dead_letters.groups(50)
    assert (group.subscription_id, group.count) == (bad, number)
    assert read[0] < number + 100, "those of the dead letters and no others"
    assert_by_indexes(sent)
    with connected(), statements() as sent, counting_reads() as read:
        deep = Position(bad, DOWN, ids.floor(NOW)[:12] + (number - 1000).to_bytes(4, "big"))
        assert len(dead_letters.page(Selection(), 50, deep)) == 50
    assert_by_indexes(sent)
    assert read[0] < 500
    with statements() as sent:
        assert preview(Selection(fingerprint=DOWN, since=NOW - timedelta(days=1))).count == number
    assert_by_indexes(sent)

    first = purge(EVERYTHING, TEST, confirm=number, reason="closed")
    assert_a_piece_is_cheap()
    assert dead_letter_moves.find(first.id).moved == PIECE
    undo(first.id, TEST)
    assert_a_piece_is_cheap()
    advance()
    assert dead_letter_moves.find(first.id).state == "undone"
    assert preview(EVERYTHING).count == number

    move = retry(EVERYTHING, TEST, rate=10_000)
    assert_a_piece_is_cheap()
    while dead_letter_moves.find(move.id).state == "running":
        later(move.id, 4)
        advance(5)
    assert dead_letter_moves.find(move.id).moved == number
    assert preview(EVERYTHING).count == 0


def assert_a_piece_is_cheap() -> None:
    """However many there are in all."""
    with statements() as sent, counting_reads() as read:
        assert advance(0) == PIECE
    assert_by_indexes(sent)
    assert read[0] < PIECE * 30
