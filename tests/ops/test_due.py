from __future__ import annotations

import threading
import time
from datetime import timedelta

import peewee as pw
import pytest
from support.records import KEYS, record, records

from messagebroker.actors.poller import Poller
from messagebroker.db.models import OPEN_DELIVERIES, Delivery, Message
from messagebroker.db.writing import give_up_connection
from messagebroker.ops import clock, due, store, stored_keys
from messagebroker.ops.due import database_now, release_due, release_stuck


@pytest.fixture(autouse=True)
def _fresh(database: pw.Database) -> None:
    stored_keys._known.clear()


def put(count: int = 1, **changes: object) -> list[bytes]:
    """Stored messages whose columns are then as said."""
    made = records(count)
    store.store(made, KEYS, now=clock.now())
    ids = [one.id for one in made]
    Message.update(**changes).where(Message.id << ids).execute()
    return ids


def deliver(message: bytes, status: str, *, subscription: int = 1) -> None:
    due_at = database_now() if status in OPEN_DELIVERIES else None
    Delivery.insert(
        message=message, subscription_id=subscription, priority=2, status=status, due_at=due_at, created_at=clock.now()
    ).execute()


def deliveries(message: bytes) -> dict[int, str]:
    return {row.subscription_id: row.status for row in Delivery.select().where(Delivery.message == message)}


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


def test_a_message_that_somebody_subscribed_to_begins_when_it_is_due() -> None:
    (own,) = put(1, status="scheduled", due_at=ago(1), routed=1, expires_at=ago(-60))
    assert release_due() == {"pending": 1}
    found = Message.get_by_id(own)
    assert (found.status, found.due_at) == ("pending", found.expires_at), "the clock's next business with it is its end"


def test_on_a_topic_that_must_route_nobody_is_a_failure() -> None:
    put(1, status="scheduled", due_at=ago(1))
    assert release_due(must_route={"orders.created"}) == {"failed": 1}


def test_what_waits_expires_with_its_message_and_what_is_under_way_comes_to_its_end() -> None:
    waiting, running = put(2, status="processing", due_at=ago(1), expires_at=ago(1))
    deliver(waiting, "pending", subscription=1)
    deliver(waiting, "delivered", subscription=2)
    deliver(running, "processing", subscription=1)
    deliver(running, "pending", subscription=2)
    release_due()
    assert deliveries(waiting) == {1: "expired", 2: "delivered"}
    assert deliveries(running) == {1: "processing", 2: "expired"}
    assert Message.get_by_id(waiting).status == "delivered"
    assert Message.get_by_id(running).status == "processing"
    assert release_due() == {}, "nobody looks at it again and again"


def test_a_message_that_only_waited_is_expired() -> None:
    (own,) = put(1, status="pending", due_at=ago(1), expires_at=ago(1))
    deliver(own, "pending")
    assert release_due() == {"expired": 1}
    assert (Message.get_by_id(own).status, deliveries(own)) == ("expired", {1: "expired"})


def test_a_message_whose_deliveries_have_ended_does_not_stay_pending() -> None:
    put(2, status="pending", stored_at=ago(61))
    (failed,) = put(1, status="pending", stored_at=ago(61))
    deliver(failed, "failed")
    (waits,) = put(1, status="pending", stored_at=ago(61))
    deliver(waits, "pending")
    put(1, status="pending", stored_at=ago(30))
    assert release_stuck() == ({"delivered": 2, "failed": 1}, b"")
    assert statuses() == {"delivered": 2, "failed": 1, "pending": 2}


def test_a_long_backlog_is_walked_through_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "LIMIT", 2)
    ids = sorted(put(3, status="pending", stored_at=ago(61)))
    for own in ids:
        deliver(own, "pending")
    (left,) = put(1, status="pending", stored_at=ago(61))
    assert left > ids[-1]
    moved, position = release_stuck()
    assert (moved, position) == ({}, ids[1])
    assert release_stuck(position)[0] == {"delivered": 1}


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
