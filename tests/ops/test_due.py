from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import peewee as pw
import pytest
from support.records import KEYS, record, records

from messagebroker.actors.poller import Poller
from messagebroker.db.models import Message
from messagebroker.db.writing import give_up_connection
from messagebroker.ops import clock, due, store
from messagebroker.ops.due import database_now, release_due, release_stuck


@pytest.fixture(autouse=True)
def _fresh(database: pw.Database) -> None:
    store._known_keys.clear()


def put(count: int = 1, **changes: object) -> list[bytes]:
    """Stored messages whose columns are then as said."""
    made = records(count)
    store.store(made, KEYS, now=clock.now())
    ids = [one.id for one in made]
    Message.update(**changes).where(Message.id << ids).execute()
    return ids


def statuses() -> dict[str, int]:
    found: dict[str, int] = {}
    for message in Message.select():
        found[message.status] = found.get(message.status, 0) + 1
    return found


def ago(seconds: float) -> object:
    return database_now() - timedelta(seconds=seconds)


def test_the_database_says_what_time_it_is() -> None:
    assert abs(database_now() - clock.now()) < timedelta(seconds=2)


def test_what_is_due_goes_out_and_what_is_not_stays() -> None:
    put(3, status="scheduled", due_at=ago(0.01))
    later = put(2, status="scheduled", due_at=ago(-60))
    assert release_due() == {"delivered": 3}
    assert statuses() == {"delivered": 3, "scheduled": 2}
    assert {bytes(message.id) for message in Message.select().where(Message.due_at.is_null(False))} == set(later)
    assert release_due() == {}


def test_what_expired_before_it_was_due_is_never_delivered() -> None:
    put(2, status="scheduled", due_at=ago(1), expires_at=ago(2))
    put(1, status="scheduled", due_at=ago(1), expires_at=ago(-60))
    assert release_due() == {"expired": 2, "delivered": 1}


def test_an_expired_lease_makes_a_message_pending_again() -> None:
    put(1, status="processing", due_at=ago(1))
    put(1, status="processing", due_at=ago(-60))
    assert release_due() == {"pending": 1}
    assert statuses() == {"pending": 1, "processing": 1}


def test_a_lease_that_was_taken_anew_meanwhile_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the move another poller released it, and a worker took it up again."""
    ids = put(1, status="processing", due_at=ago(1))
    move = due._move

    def late(*arguments: Any) -> dict[str, int]:
        Message.update(due_at=ago(-60)).where(Message.id << ids).execute()
        return move(*arguments)

    monkeypatch.setattr(due, "_move", late)
    assert release_due() == {}
    assert statuses() == {"processing": 1}


def test_a_pending_message_that_was_left_behind_is_processed_again() -> None:
    put(2, status="pending", stored_at=ago(61))
    put(1, status="pending", stored_at=ago(61), expires_at=ago(1))
    put(1, status="pending", stored_at=ago(30))
    assert release_stuck() == {"delivered": 2, "expired": 1}
    assert statuses() == {"delivered": 2, "expired": 1, "pending": 1}


def test_a_claim_takes_a_limited_number_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "LIMIT", 10)
    newer = put(5, status="scheduled", due_at=ago(1))
    put(10, status="scheduled", due_at=ago(2))
    assert release_due() == {"delivered": 10}
    left = {bytes(message.id) for message in Message.select().where(Message.status == "scheduled")}
    assert left == set(newer)


def test_several_pollers_move_each_message_once() -> None:
    put(1200, status="scheduled", due_at=ago(1))
    moved: list[int] = []

    def work() -> None:
        try:
            while found := release_due():
                moved.append(sum(found.values()))
        finally:
            give_up_connection()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(moved) == 1200, "not one was counted twice"
    while release_due():  # a poller that lost every row of a look stops early
        continue
    assert statuses() == {"delivered": 1200}


def test_scheduled_messages_go_out_within_a_second() -> None:
    now = database_now()
    goes_at = [now + timedelta(seconds=seconds) for seconds in (0.4, 0.9, 1.3)]
    store.store([record(deliver_at=clock.micros(moment)) for moment in goes_at], KEYS, now=now)
    assert statuses() == {"scheduled": 3}
    poller = Poller()
    poller.start()
    try:
        seen: list[float] = []
        while len(seen) < 3 and (database_now() - now).total_seconds() < 10:
            delivered = Message.select().where(Message.status == "delivered").count()
            late = (database_now() - goes_at[len(seen)]).total_seconds()
            seen += [late] * (delivered - len(seen))
            time.sleep(0.02)
    finally:
        poller.stop()
    assert len(seen) == 3
    assert all(0 <= late < 1 for late in seen), seen
