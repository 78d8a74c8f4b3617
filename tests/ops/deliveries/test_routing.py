"""Which messages become deliveries, and of which kind, when they are stored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import peewee as pw
import pytest
from support.subscribing import Office, subscribe

from messagebroker.db.models import Delivery, Message, Subscription, Topic
from messagebroker.ops import clock, failures
from messagebroker.ops.audit import Actor
from messagebroker.ops.cancelling import cancel
from messagebroker.ops.channels.webhook_config import WebhookSecrets
from messagebroker.ops.deliveries import subscribed
from messagebroker.ops.deliveries.routing import Born, router_of
from messagebroker.ops.deliveries.subscribed import Subscribed
from messagebroker.ops.due import database_now
from messagebroker.ops.keyring import KeyRing, create_master_key
from messagebroker.ops.records import Record
from messagebroker.ops.store import store
from messagebroker.ops.subscription_secrets import sealed
from messagebroker.settings import Settings


class Hands:
    """Has room for so many."""

    holder = b"h" * 16

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.taken: list[Born] = []

    def reserve(self, subscribed: Subscribed, priority: int) -> bool:
        self.room -= 1
        return self.room >= 0

    def give_back(self, subscription_id: int) -> None:
        self.room += 1

    def take(self, born: list[Born], keys: Any) -> None:
        assert Message.select().where(Message.id == born[0].record.id).exists(), "only what is stored"
        self.taken += born


@pytest.fixture
def office(database: pw.Database, settings: Settings) -> Office:
    return Office(settings)


def put(office: Office, *records: Record) -> None:
    office.subscriptions.refresh(older_than=0)
    store(list(records), office.keys, now=database_now(), router=office.router)


def found() -> dict[tuple[bytes, int], str]:
    return {(bytes(row.message_id), row.subscription_id): row.status for row in Delivery.select()}


def status(record: Record) -> str:
    return str(Message.get_by_id(record.id).status)


def test_a_message_is_for_those_whose_pattern_matches(office: Office) -> None:
    orders, everything, other = subscribe(["orders.*"]), subscribe(["*"]), subscribe(["payments.*", "refunds"])
    order, payment, greeting = (office.record(topic=topic) for topic in ("orders.created", "payments.eu.made", "hello"))
    put(office, order, payment, greeting)
    assert found() == {
        (order.id, orders): "pending",
        (order.id, everything): "pending",
        (payment.id, everything): "pending",
        (payment.id, other): "pending",
        (greeting.id, everything): "pending",
    }
    assert (status(order), Message.get_by_id(order.id).routed) == ("pending", 2)


def test_filters_choose_by_priority_and_metadata(office: Office) -> None:
    urgent = subscribe(filter={"priorities": ["critical", "high"]})
    german = subscribe(filter={"metadata": {"country": "DE", "size": 3}})
    high = office.record(priority=1, metadata={"country": "FR"})
    low = office.record(priority=3, metadata={"country": "DE", "size": 3, "more": True})
    none = office.record(priority=3)
    put(office, high, low, none)
    assert set(found()) == {(high.id, urgent), (low.id, german)}
    assert status(none) == "delivered", "nobody subscribed to it"


def test_disabled_and_removed_ones_get_nothing(office: Office) -> None:
    subscribe(disabled_at=clock.now())
    subscribe(removed_at=clock.now())
    record = office.record()
    put(office, record)
    assert (found(), status(record), Message.get_by_id(record.id).routed) == ({}, "delivered", 0)


def test_a_change_is_known_at_the_next_look(office: Office) -> None:
    number = subscribe(["orders.*"])
    put(office, office.record())
    from messagebroker.db.models import Subscription

    Subscription.update(topics='["payments"]', changed_at=clock.now()).where(Subscription.id == number).execute()
    put(office, office.record())
    assert len(found()) == 1


def test_a_topic_that_must_route_fails_without_subscribers(office: Office) -> None:
    Topic.create(name="orders.created", must_route=True, created_at=clock.now())
    record, other = office.record(), office.record(topic="orders.changed")
    put(office, record, other)
    assert (status(record), status(other)) == ("failed", "delivered")


def test_what_there_is_room_for_is_claimed_when_it_is_written(database: pw.Database, settings: Settings) -> None:
    hands = Hands(room=2)
    office = Office(settings, hands)
    number = subscribe()
    records = [office.record() for _ in range(3)]
    put(office, *records)
    assert [found()[record.id, number] for record in records] == ["processing", "processing", "pending"]
    assert [born.record.id for born in hands.taken] == [record.id for record in records[:2]]
    assert [status(record) for record in records] == ["processing", "processing", "pending"]
    claimed = Delivery.get(Delivery.message == records[0].id)
    assert bytes(claimed.holder) == hands.holder
    assert claimed.due_at > clock.now() + timedelta(seconds=60)


def test_the_first_try_waits_as_its_schedule_says(database: pw.Database, settings: Settings) -> None:
    hands = Hands()
    office = Office(settings, hands)
    subscribe(schedule=[60, 300])
    before = database_now()
    put(office, office.record())
    (one,) = Delivery.select()
    assert (one.status, hands.taken) == ("pending", [])
    assert timedelta(seconds=55) < one.due_at - before < timedelta(seconds=65)


def test_a_redelivered_call_makes_no_second_delivery(database: pw.Database, settings: Settings) -> None:
    hands = Hands()
    office = Office(settings, hands)
    subscribe()
    record = office.record()
    put(office, record)
    put(office, record)
    assert (len(found()), len(hands.taken), hands.room) == (1, 1, 99)


def test_a_transaction_that_fails_gives_its_places_back(
    database: pw.Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Hands()
    office = Office(settings, hands)
    subscribe()
    monkeypatch.setattr("messagebroker.ops.deliveries.routing.insert", lambda *_: (_ for _ in ()).throw(pw.DataError("bad")))
    with pytest.raises(pw.DataError):
        put(office, office.record())
    assert (found(), hands.taken, hands.room, Message.select().count()) == ({}, [], 100, 0)


def test_scheduled_messages_have_deliveries_that_are_due_with_them(office: Office) -> None:
    number = subscribe()
    at = database_now() + timedelta(hours=1)
    record = office.record(deliver_at=clock.micros(at))
    put(office, record)
    assert (status(record), found()) == ("scheduled", {(record.id, number): "pending"})
    assert Delivery.get(Delivery.message == record.id).due_at == at


def test_a_scheduled_message_leaves_with_the_digest_of_the_span_in_which_it_begins(office: Office) -> None:
    number = subscribe(channel="email", config={"to": ["ann@example.org"], "digest_minutes": 15})
    ten = database_now().replace(hour=10, minute=0, second=0, microsecond=0) + timedelta(days=1)
    first, last, next_one = (
        office.record(deliver_at=clock.micros(ten + timedelta(minutes=minutes))) for minutes in (1, 14, 16)
    )
    put(office, first, last, next_one)
    due = {bytes(row.message_id): row.due_at for row in Delivery.select().where(Delivery.subscription_id == number)}
    quarter = timedelta(minutes=15)
    assert [due[one.id] for one in (first, last, next_one)] == [ten + quarter, ten + quarter, ten + 2 * quarter]
    assert status(first) == "scheduled"


def test_the_first_delay_of_a_schedule_begins_when_the_message_does(office: Office) -> None:
    subscribe(schedule=[60, 300])
    at = database_now() + timedelta(hours=1)
    put(office, office.record(deliver_at=clock.micros(at)))
    assert Delivery.get().due_at == at + timedelta(seconds=60)


def test_what_expires_is_due_for_that(office: Office) -> None:
    subscribe()
    at = database_now() + timedelta(hours=1)
    record = office.record(expires_at=clock.micros(at))
    gone = office.record(expires_at=clock.micros(at - timedelta(hours=2)))
    put(office, record, gone)
    assert Message.get_by_id(record.id).due_at == at
    assert (status(gone), len(found())) == ("expired", 1)


@pytest.mark.parametrize("by", ["correlation_id", "sender", "topic", "client"])
def test_what_has_to_be_in_order_shares_a_key(office: Office, by: str) -> None:
    subscribe(channel="pull", client="acme", ordered_by=by)
    values = {"correlation_id": "a", "sender_hash": b"s" * 16, "topic": "one", "client": "acme"}
    other = {"correlation_id": "b", "sender_hash": b"t" * 16, "topic": "two", "client": "bolt"}
    put(office, office.record(**values), office.record(**values), office.record(**other))
    keys = [bytes(row.order_key) for row in Delivery.select().order_by(Delivery.message)]
    assert keys[0] == keys[1] != keys[2]


def test_one_that_this_program_cannot_deliver_gets_its_messages_all_the_same(office: Office) -> None:
    """Of a channel that a newer worker knows, or damaged: what is stored meanwhile must not pass it by."""
    newer = subscribe(["orders.*"], channel="fax")
    record = office.record()
    put(office, record)
    put(office, other := office.record(topic="else"))
    assert found() == {(record.id, newer): "pending"}
    assert (status(record), status(other)) == ("pending", "delivered")


def test_a_filter_that_nobody_can_read_stops_no_other(office: Office) -> None:
    subscribe(filter={"priorities": ["sometimes"]})
    good = subscribe()
    record = office.record()
    put(office, record)
    assert found() == {(record.id, good): "pending"}


def test_secrets_sealed_with_a_key_newer_than_the_process_open(database: pw.Database, settings: Settings) -> None:
    old = Office(settings)
    router = router_of(settings)
    create_master_key(settings)
    number = subscribe()
    with database.atomic():
        columns = sealed(KeyRing.load(settings), number, WebhookSecrets())
        Subscription.update(**columns).where(Subscription.id == number).execute()
    router.refresh()
    (known,) = router.wanting("orders.created", 2)
    assert known.is_usable
    record = old.record()
    store([record], old.keys, now=database_now(), router=router)
    assert found() == {(record.id, number): "pending"}


def test_a_record_that_was_set_aside_is_for_its_subscribers_when_it_is_stored_at_last(
    office: Office, settings: Settings
) -> None:
    number = subscribe()
    record = office.record()
    failures.set_aside(record, office.keys[record.data_key_id], "not today")
    failures.retry(record.id, Actor(name="test"), router_of(settings))
    assert found() == {(record.id, number): "pending"}


def test_cancelling_a_scheduled_message_cancels_its_deliveries(office: Office) -> None:
    subscribe()
    record = office.record(deliver_at=clock.micros(clock.now() + timedelta(hours=1)))
    put(office, record)
    cancel(record.id, Actor(name="test"))
    assert (list(found().values()), status(record)) == (["cancelled"], "cancelled")
    assert Delivery.get().due_at is None


def test_a_sender_who_makes_up_topics_keeps_nobody_elses_out_of_memory(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribed, "_MOST_TOPICS", 20)
    subscribe()
    office.subscriptions.refresh(older_than=0)
    for number in range(50):
        office.subscriptions.wanting(f"made.up.{number}", 2)
    first = office.subscriptions.wanting("orders.new", 2)
    assert len(first) == 1
    assert office.subscriptions.wanting("orders.new", 2) is first
    assert len(office.subscriptions._wanted) <= 20
