"""Claims: what is due, by whom, each once; and how attempts end."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import peewee as pw
import pytest
from support.subscribing import Office, subscribe

from messagebroker.db.connection import is_mysql
from messagebroker.db.models import Delivery, DeliveryAttempt, Heartbeat, Message, Subscription
from messagebroker.db.writing import give_up_connection
from messagebroker.ops import clock, metrics, resending
from messagebroker.ops.audit import Actor
from messagebroker.ops.channels.channel import Outcome
from messagebroker.ops.deliveries import claiming, ending, orphans, rescue
from messagebroker.ops.deliveries.claimed import Claimed
from messagebroker.ops.deliveries.claiming import Due
from messagebroker.ops.deliveries.ending import JITTER, Result, end
from messagebroker.ops.deliveries.following import MOST_ATTEMPTS
from messagebroker.ops.due import database_now
from messagebroker.ops.records import Record
from messagebroker.ops.store import store
from messagebroker.settings import Settings

ME, OTHER = b"m" * 16, b"o" * 16
OK = Outcome(kind="delivered", code=200)
LATER = Outcome(kind="retry", code=503, error="it said 503")


@pytest.fixture
def office(database: pw.Database, settings: Settings) -> Office:
    return Office(settings)


def put(office: Office, count: int = 1, **changes: Any) -> list[Record]:
    records = [office.record(**changes) for _ in range(count)]
    office.subscriptions.refresh(older_than=0)
    store(records, office.keys, now=database_now(), router=office.router)
    return records


def claim(most: int = 100, holder: bytes = ME) -> list[Claimed]:
    return claiming.claim([(group, most) for group in claiming.due()], holder=holder)


def result(one: Claimed, outcome: Outcome = OK, holder: bytes = ME, schedule: tuple[float, ...] = (0, 5, 300)) -> Result:
    return Result(
        message_id=one.message_id,
        subscription_id=one.subscription_id,
        channel="webhook",
        holder=holder,
        outcome=outcome,
        started_at=clock.now(),
        duration_ms=12,
        schedule=schedule,
    )


def row(record: Record) -> Delivery:
    return Delivery.get(Delivery.message == record.id)


def status(record: Record) -> str:
    return str(Message.get_by_id(record.id).status)


def come_due() -> None:
    Delivery.update(due_at=database_now() - timedelta(seconds=1)).where(Delivery.status == "pending").execute()


def test_what_is_due_is_found_by_urgency(office: Office) -> None:
    first, second = subscribe(["a"]), subscribe(["b"])
    put(office, 2, topic="a", priority=3)
    put(office, 1, topic="b", priority=3)
    put(office, 1, topic="b", priority=0)
    Delivery.update(due_at=database_now() + timedelta(hours=1)).where(Delivery.subscription_id == first).execute()
    assert [(group.priority, group.subscription_id) for group in claiming.due()] == [(0, second), (3, second)]


def test_a_claim_brings_the_message_and_a_lease(office: Office) -> None:
    number = subscribe()
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    (record,) = put(office, body="hello", correlation_id="c-1", traceparent=trace)
    (one,) = claim()
    assert (one.message_id, one.subscription_id, one.client, one.topic) == (record.id, number, "acme", "orders.created")
    assert (one.correlation_id, one.traceparent, one.attempts, one.crashes) == ("c-1", trace, 0, 0)
    assert office.payloads.open(one.message_id, one.client, one.sealed, one.key).body == "hello"
    assert (row(record).status, bytes(row(record).holder)) == ("processing", ME)
    assert row(record).due_at > database_now() + timedelta(seconds=60)
    assert status(record) == "processing"
    assert claim(holder=OTHER) == []


def test_each_delivery_is_claimed_once_whoever_tries(office: Office) -> None:
    subscribe(["*"])
    subscribe(["orders.*"])
    put(office, 400)
    taken: list[tuple[bytes, int]] = []

    def work(number: int) -> None:
        try:
            while claiming.due():
                found = claim(30, bytes([number]) * 16)
                taken.extend((one.message_id, one.subscription_id) for one in found)
        finally:
            give_up_connection()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(taken) == len(set(taken)) == 800


def test_a_group_gives_no_more_than_there_is_room_for(office: Office) -> None:
    one, two = subscribe(["a"]), subscribe(["b"])
    put(office, 10, topic="a")
    put(office, 10, topic="b")
    groups = {group.subscription_id: group for group in claiming.due()}
    found = claiming.claim([(groups[one], 3), (groups[two], 5)], holder=ME)
    assert sorted(item.subscription_id for item in found) == [one] * 3 + [two] * 5


def test_of_those_that_one_more_crash_ends_one_is_in_hand(office: Office) -> None:
    """Beside it a killer takes no innocent one with it; what crashed once may have been anywhere near, and is not held up."""
    subscribe()
    put(office, 3)
    Delivery.update(crashes=2).execute()
    once = {record.id for record in put(office, 2)}
    Delivery.update(crashes=1).where(Delivery.message << list(once)).execute()
    put(office, 2)
    assert sorted(one.crashes for one in claim()) == [0, 0, 1, 1, 2]
    put(office, 1)
    found = claiming.claim([(group, 100) for group in claiming.due()], holder=ME, last_chances=0)
    assert [one.crashes for one in found] == [0]


def test_those_that_wait_for_their_last_chance_hold_up_nobody(office: Office) -> None:
    subscribe()
    put(office, 9)
    Delivery.update(crashes=2).execute()
    put(office, 9)
    assert sorted(one.crashes for one in claim(4)) == [0, 0, 0, 2]
    found = claiming.claim([(group, 4) for group in claiming.due()], holder=ME, last_chances=0)
    assert [one.crashes for one in found] == [0, 0, 0, 0]


def test_a_killer_makes_no_dead_letters_of_those_beside_it(office: Office) -> None:
    subscribe()
    records = put(office, 20)
    killer = records[7]
    beat(ME)
    in_hand: set[bytes] = set()
    for _ in range(200):
        if row(killer).status == "failed":
            break
        claimed = claim(holder=OTHER)
        in_hand = {one.message_id for one in claimed}
        if killer.id in in_hand:
            rescue.rescue()
        else:
            ending.end([result(one, holder=OTHER) for one in claimed])
        come_due()
    assert [record.id for record in records if status(record) == "failed"] == [killer.id]


def test_delivered_is_the_end_of_it(office: Office) -> None:
    subscribe()
    (record,) = put(office)
    (one,) = claim()
    assert ending.end([result(one)]) == {(record.id, one.subscription_id)}
    assert (row(record).status, row(record).attempts, row(record).holder, row(record).due_at) == ("delivered", 1, None, None)
    assert (status(record), Message.get_by_id(record.id).attempts) == ("delivered", 1)
    attempt = DeliveryAttempt.get()
    assert (attempt.number, attempt.outcome, attempt.code, attempt.duration_ms) == (1, "delivered", 200, 12)


def delivered_after() -> tuple[float, float]:
    """How many were delivered, and their seconds together."""
    samples = [sample for family in metrics.DELIVERED_AFTER.labels("webhook").collect() for sample in family.samples]
    count, total = (next(one.value for one in samples if one.name.endswith(end)) for end in ("_count", "_sum"))
    return count, total


def test_the_time_since_acceptance_is_observed_once_it_is_delivered(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    subscribe()
    put(office)
    [one] = claim()
    before, seconds = delivered_after()
    ending.end([result(one, LATER)])
    assert delivered_after() == (before, seconds), "not yet"
    come_due()
    [one] = claim()
    monkeypatch.setattr(ending, "database_now", lambda: database_now() + timedelta(seconds=40))
    ending.end([result(one)])
    after, now = delivered_after()
    assert after == before + 1
    assert 40 <= now - seconds < 60


def test_a_failure_that_may_pass_is_tried_again_by_the_schedule(office: Office) -> None:
    subscribe()
    (record,) = put(office)
    for number, pause in ((1, 5), (2, 300)):
        (one,) = claim()
        now = database_now()
        ending.end([result(one, LATER)])
        found = row(record)
        assert (found.status, found.attempts, found.error) == ("pending", number, "it said 503")
        assert pause * (1 - JITTER) <= (found.due_at - now).total_seconds() <= pause * (1 + JITTER) + 1
        assert status(record) == "processing"
        come_due()
    (one,) = claim()
    ending.end([result(one, LATER)])
    assert (row(record).status, row(record).attempts, status(record)) == ("failed", 3, "failed")
    assert row(record).fingerprint


def test_an_attempt_that_somebody_asked_for_says_who(office: Office, settings: Settings) -> None:
    number = subscribe()
    (record,) = put(office)
    ending.end([result(one) for one in claim()])
    resending.resend(number, record.id, Actor(name="user:ada@example.org"))
    ending.end([result(one, LATER) for one in claim()])
    come_due()
    ending.end([result(one) for one in claim()])
    asked = [row.asked_by for row in DeliveryAttempt.select().order_by(DeliveryAttempt.id)]
    assert asked == [None, "user:ada@example.org", None]


def test_a_receiver_may_ask_for_a_longer_pause(office: Office) -> None:
    subscribe()
    (record,) = put(office)
    (one,) = claim()
    now = database_now()
    ending.end([result(one, Outcome(kind="retry", code=429, error="busy", retry_after=3600))])
    assert (row(record).due_at - now).total_seconds() >= 3600


@pytest.mark.parametrize("kind", ["failed", "gone"])
def test_what_would_fail_for_ever_is_not_tried_again(office: Office, kind: Any) -> None:
    subscribe()
    (record,) = put(office)
    (one,) = claim()
    ending.end([result(one, Outcome(kind=kind, code=400, error="no"))])
    assert (row(record).status, status(record)) == ("failed", "failed")


def test_a_message_ends_with_the_last_of_its_deliveries(office: Office) -> None:
    subscribe()
    subscribe()
    (record,) = put(office)
    first, second = claim()
    ending.end([result(first)])
    assert status(record) == "processing"
    ending.end([result(second, Outcome(kind="failed", code=400, error="no"))])
    assert status(record) == "failed"


def test_deliveries_of_one_message_that_end_at_once_end_it(office: Office) -> None:
    for _ in range(4):
        subscribe()
    records = put(office, 20)
    claimed = claim(20)
    assert len(claimed) == 80

    def work(part: list[Claimed]) -> None:
        try:
            for one in part:
                ending.end([result(one)])
        finally:
            give_up_connection()

    threads = [threading.Thread(target=work, args=(claimed[number::4],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {status(record) for record in records} == {"delivered"}


def test_who_lost_the_lease_decides_nothing(office: Office) -> None:
    subscribe()
    (record,) = put(office)
    (one,) = claim()
    Delivery.update(holder=OTHER).execute()
    assert ending.end([result(one, Outcome(kind="failed", error="no"))]) == set()
    assert (row(record).status, status(record)) == ("processing", "processing")
    assert DeliveryAttempt.select().count() == 1, "it was tried all the same"


def test_a_message_that_was_deleted_meanwhile_harms_nobody(office: Office) -> None:
    subscribe()
    gone, stays = put(office, 2)
    claimed = claim()
    Message.delete().where(Message.id == gone.id).execute()
    ending.end([result(one) for one in claimed])
    assert (status(stays), DeliveryAttempt.select().count(), Delivery.select().count()) == ("delivered", 1, 1)


def test_what_is_past_its_time_is_not_tried_again(office: Office) -> None:
    subscribe()
    (record,) = put(office)
    (one,) = claim()
    Message.update(expires_at=database_now() - timedelta(seconds=1)).execute()
    ending.end([result(one, LATER)])
    assert (row(record).status, status(record)) == ("expired", "expired")


def test_what_was_not_begun_goes_back(office: Office) -> None:
    number = subscribe()
    (record,) = put(office)
    claim()
    assert claiming.give_back([(record.id, number)], OTHER) == 0
    assert claiming.give_back([(record.id, number)], ME) == 1
    assert len(claim(holder=OTHER)) == 1


def test_what_comes_back_after_its_messages_time_is_not_delivered(office: Office) -> None:
    """The poller had let it go while it was under way, and looks for it no more."""
    subscribe()
    late, (other,) = office.record(expires_at=clock.micros(clock.now() + timedelta(hours=1))), put(office)
    store([late], office.keys, now=database_now(), router=office.router)
    assert len(claim()) == 2
    Message.update(expires_at=database_now(), due_at=None).where(Message.id == late.id).execute()
    claiming.give_back([(record.id, row(record).subscription_id) for record in (late, other)], ME)
    assert [one.message_id for one in claim()] == [other.id]
    assert (row(late).status, row(late).holder, status(late)) == ("expired", None, "expired")


# workers that are gone


def beat(holder: bytes) -> None:
    now = database_now()
    Heartbeat.create(instance=holder.hex(), role="worker", host="h", pid=1, started_at=now, seen_at=now)


def test_what_a_dead_worker_held_goes_to_another(office: Office) -> None:
    subscribe()
    (record,) = put(office)
    beat(OTHER)
    claim(holder=OTHER)
    assert rescue.rescue() == 0, "it lives"
    Heartbeat.delete().execute()
    beat(ME)
    assert rescue.rescue() == 1
    assert (row(record).status, row(record).crashes, row(record).holder) == ("pending", 1, None)
    assert [attempt.error for attempt in DeliveryAttempt.select()] == ["the worker ended before the answer came"]
    assert len(claim()) == 1


def test_a_lease_that_ran_out_is_no_lease(office: Office) -> None:
    subscribe()
    (record,) = put(office)
    beat(ME)
    claim()
    Delivery.update(due_at=database_now() - timedelta(seconds=1)).execute()
    assert rescue.rescue() == 1
    assert row(record).status == "pending"


def test_a_delivery_that_ends_its_workers_is_a_dead_letter(office: Office) -> None:
    subscribe()
    (record,) = put(office)
    beat(ME)
    for _ in range(3):
        assert row(record).status == "pending"
        claim(holder=OTHER)
        rescue.rescue()
    assert (row(record).status, row(record).crashes, status(record)) == ("failed", 3, "failed")
    assert "3 workers" in row(record).error


def test_several_rescuers_count_a_crash_once(office: Office) -> None:
    subscribe()
    put(office, 100)
    beat(ME)
    claim(holder=OTHER)

    def work() -> None:
        try:
            rescue.rescue()
        finally:
            give_up_connection()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {found.crashes for found in Delivery.select()} == {1}


# subscriptions that are not in force any more


def test_deliveries_of_a_removed_subscription_are_cancelled(office: Office) -> None:
    number = subscribe()
    (record,) = put(office)
    Subscription.update(removed_at=clock.now()).execute()
    assert orphans.end([number]) == 1
    assert (row(record).status, status(record)) == ("cancelled", "cancelled")
    assert row(record).error == "the subscription was removed"  # and not what its last attempt said


def test_deliveries_of_a_disabled_subscription_are_dead_letters(office: Office) -> None:
    number, other = subscribe(), subscribe()
    (record,) = put(office)
    Subscription.update(disabled_at=clock.now(), disabled_why="it said 410").where(Subscription.id == number).execute()
    assert orphans.end([number]) == 1
    found = Delivery.get(Delivery.subscription_id == number)
    assert (found.status, found.error) == ("failed", "its subscription was disabled: it said 410")
    assert Delivery.get(Delivery.subscription_id == other).status == "pending"
    assert status(record) == "processing"


# plans


def test_looking_for_what_is_due_touches_no_rows(
    office: Office, database: pw.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """900 that are pending, 894 of them for later: MySQL's servers look into an index for each destination, SQLite goes
    along the index; then the few that are wanted are read, and no others."""
    numbers = [subscribe() for _ in range(3)]
    records = put(office, 300)
    assert len(records) * len(numbers) == Delivery.select().count()
    later = database_now() + timedelta(hours=1)
    Delivery.update(due_at=later).where(Delivery.message << [record.id for record in records[2:]]).execute()
    if is_mysql():
        database.execute_sql("ANALYZE TABLE deliveries")
    with database.connection_context():
        before = _rows_read(database) if is_mysql() else 0
        statements = _noted(database, monkeypatch)
        groups = claiming.due()
        found = claiming._pairs([(group, 2) for group in groups])
        monkeypatch.undo()
        assert (len(groups), len(found), len(statements)) == (3, 6, 2)
        if is_mysql():
            assert _rows_read(database) - before < 100
        else:
            due, *wanted = [step for sql in statements for step in _steps(database, sql)]
            assert due.startswith(f"SEARCH deliveries USING COVERING INDEX {claiming._INDEX} (status=?")
            found_by = "(status=? AND priority=? AND subscription_id=? AND due_at<?)"
            assert wanted == [f"SEARCH deliveries USING INDEX {claiming._INDEX} {found_by}"] * 3


def _noted(database: pw.Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is executed from now on."""
    ran: list[str] = []
    run = database.execute_sql
    monkeypatch.setattr(database, "execute_sql", lambda sql, *args, **more: ran.append(sql) or run(sql, *args, **more))
    return ran


def _steps(database: pw.Database, sql: str) -> list[str]:
    """How SQLite finds rows of deliveries: SEARCH begins at a place, SCAN walks over everything."""
    plan = [str(row[3]) for row in database.execute_sql("EXPLAIN QUERY PLAN " + sql).fetchall()]
    return [step for step in plan if "deliveries" in step.split()]


def _rows_read(database: pw.Database) -> int:
    found = database.execute_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'").fetchall()
    return sum(int(value) for _, value in found)


def test_the_order_of_due_groups_is_by_priority_then_time(office: Office) -> None:
    subscribe()
    put(office, 1, priority=3)
    put(office, 1, priority=1)
    groups = claiming.due()
    assert [group.priority for group in groups] == [1, 3]
    assert all(isinstance(group, Due) and group.since is not None for group in groups)


def test_attempts_are_counted_as_far_as_the_column_goes(office: Office) -> None:
    """Else whoever has one message sent again all day would keep its other deliveries from ending."""
    subscribe()
    [record] = put(office)
    Message.update(attempts=MOST_ATTEMPTS).execute()
    [one] = claim()
    end([result(one)])
    assert status(record) == "delivered"
    assert Message.get_by_id(record.id).attempts == MOST_ATTEMPTS


def test_who_reached_some_of_its_receivers_does_not_count_as_failing(office: Office) -> None:
    number = subscribe()
    put(office)
    [one] = claim()
    end([result(one, Outcome(kind="failed", code=550, error="no such user", reached=True))])
    assert Subscription.get_by_id(number).failures == 0
