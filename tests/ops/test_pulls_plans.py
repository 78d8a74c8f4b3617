"""What pulls read of large tables: what they take, and no more than a look beside it. The servers count."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import peewee as pw
import pytest
from support.plans import counting_reads
from support.pulled import Pulled, subscribe

from messagebroker.db.models import Delivery, Message
from messagebroker.ops import clock, keyring, pull_leases, pulls
from messagebroker.ops.deliveries import choosing
from messagebroker.ops.deliveries.opening import Payloads
from messagebroker.settings import load

pytestmark = pytest.mark.parametrize("database", ["mariadb", "mysql"], indirect=True)
ROWS = 5000
NOW = clock.now()
SOON, BEFORE = NOW + timedelta(hours=1), NOW - timedelta(hours=1)
KEY = bytes(16)


@pytest.fixture
def pulled(database: pw.Database, tmp_path: Path) -> Pulled:
    settings = load({}, data_dir=tmp_path, environment="test")
    keyring.first_secrets(settings)
    return Pulled(settings)


@pytest.fixture
def payloads(pulled: Pulled, tmp_path: Path) -> Payloads:
    return Payloads(load({}, data_dir=tmp_path, environment="test"))


def fill(subscription: int, database: pw.Database, **columns: Any) -> None:
    """With older messages than any that comes later."""
    start = subscription * ROWS
    messages = [
        {
            "id": bytes(6) + (start + number).to_bytes(10), "client_id": "c", "topic": "t", "priority": 2, "status": "pending",
            "created_at": NOW, "stored_at": NOW, "size": 1, "data_key_id": bytes(16), "payload": b"x",
        }
        for number in range(ROWS)
    ]  # fmt: skip
    rows = [
        {"message": one["id"], "subscription_id": subscription, "priority": 2, "created_at": NOW, **columns} for one in messages
    ]
    for at in range(0, ROWS, 1000):
        Message.insert_many(messages[at : at + 1000]).execute()
        Delivery.insert_many(rows[at : at + 1000]).execute()
    for table in ("messages", "deliveries"):
        database.execute_sql(f"ANALYZE TABLE {table}").fetchall()


def reads(work: Callable[[], Any]) -> tuple[Any, int]:
    with counting_reads() as found:
        result = work()
    return result, found[0]


def test_who_has_something_is_seen_by_one_look_each(pulled: Pulled, database: pw.Database) -> None:
    later, full, idle, other = subscribe(), subscribe(), subscribe(), subscribe()
    fill(later, database, status="pending", due_at=SOON)
    fill(full, database, status="pending", due_at=BEFORE)
    fill(other, database, status="pending", due_at=BEFORE)
    found, number = reads(lambda: pulls.with_due([later, full, idle]))
    assert found == [full]
    assert number < 100


def test_leases_that_go_on_are_not_read(pulled: Pulled, payloads: Payloads, database: pw.Database) -> None:
    number = subscribe()
    fill(number, database, status="processing", due_at=SOON, holder=bytes(16))
    found, read = reads(pull_leases.release_expired)
    assert found == 0
    assert read < 100
    pulled.put(number)
    pulls.take(payloads, number, "owner", limit=1, lease_seconds=60)
    Delivery.update(due_at=BEFORE).where(Delivery.holder != bytes(16)).execute()
    found, read = reads(pull_leases.release_expired)
    assert found == 1
    assert read < 200


def test_a_backlog_is_read_as_far_as_it_is_taken(pulled: Pulled, payloads: Payloads, database: pw.Database) -> None:
    number = subscribe()
    fill(number, database, status="pending", due_at=NOW - timedelta(minutes=1))
    for _ in range(5):
        pulled.put(number)  # due before the rest
    taken, read = reads(lambda: pulls.take(payloads, number, "owner", limit=5, lease_seconds=60))
    assert len(taken) == 5
    assert read < 200


def test_the_history_of_a_key_is_not_read(pulled: Pulled, payloads: Payloads, database: pw.Database) -> None:
    number = subscribe(ordered_by="sender")
    fill(number, database, status="delivered", order_key=KEY)
    stored = pulled.put(number)
    Delivery.update(order_key=KEY).where(Delivery.status == "pending").execute()
    taken, read = reads(lambda: pulls.take(payloads, number, "owner", limit=5, lease_seconds=60))
    assert [one.message_id for one in taken] == [stored]
    assert read < 200


def test_a_backlog_of_one_key_is_read_as_far_as_is_looked(pulled: Pulled, payloads: Payloads, database: pw.Database) -> None:
    """Its first one is in somebody's hands, and all others are due; another key's comes last."""
    number = subscribe(ordered_by="sender")
    fill(number, database, status="pending", due_at=BEFORE, order_key=KEY)
    first = Delivery.update(status="processing", due_at=SOON, holder=bytes(16))
    first.where(Delivery.message << Message.select(pw.fn.MIN(Message.id))).execute()
    stored = pulled.put(number, key="other")
    for name in ("messages", "deliveries"):
        database.execute_sql(f"ANALYZE TABLE {name}").fetchall()
    taken, read = reads(lambda: pulls.take(payloads, number, "owner", limit=5, lease_seconds=60))
    assert [one.message_id for one in taken] == [stored]
    assert read < 10 * choosing.LOOKED_AT, "and not all of the backlog"


def test_what_else_is_open_of_a_key_is_not_read(pulled: Pulled, payloads: Payloads, database: pw.Database) -> None:
    number = subscribe(ordered_by="sender")
    fill(number, database, status="pending", due_at=SOON, order_key=KEY)
    Delivery.update(due_at=BEFORE).where(Delivery.message << Message.select(pw.fn.MIN(Message.id))).execute()
    taken, read = reads(lambda: pulls.take(payloads, number, "owner", limit=5, lease_seconds=60))
    assert taken == [], "it was the one, and does not open"
    assert Delivery.select().where(Delivery.status == "failed").count() == 1
    assert read < 200
