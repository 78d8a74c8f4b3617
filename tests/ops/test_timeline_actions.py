"""What operators do to queues and subscriptions is in the timelines of the messages that it concerned."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import peewee as pw
import pytest
import redis as redis_py
from support.queued import put
from support.subscribing import Office, subscribe

from messagebroker.db.models import AuditEntry, Delivery, User
from messagebroker.ops import audit, clock, pausing, purging, resending, stuck, subscription_removal, subscriptions, timeline
from messagebroker.ops.audit import Actor
from messagebroker.ops.channels.channel import Outcome
from messagebroker.ops.deliveries import claiming, ending
from messagebroker.ops.due import database_now
from messagebroker.ops.timeline import Event
from messagebroker.settings import Settings

ADA, BOB = Actor(name="user:ada@example.org"), Actor(name="user:bob@example.org")
ME = b"m" * 16
HOUR = timedelta(hours=1)


@pytest.fixture
def office(database: pw.Database, settings: Settings) -> Office:
    return Office(settings)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis_py.Redis]:
    with redis_py.Redis.from_url(redis_url) as made:
        yield made


def events(message: bytes, **more: Any) -> dict[str, Event]:
    return {event.kind: event for event in timeline.of(message, **more).events}


def attempted(message: bytes, number: int, outcome: Outcome) -> None:
    """Taken and tried by a worker."""
    claiming.claim([(group, 10) for group in claiming.due()], holder=ME)
    result = ending.Result(
        message_id=message, subscription_id=number, channel="webhook", holder=ME, outcome=outcome,
        started_at=clock.now(), duration_ms=3, schedule=(0.0,),
    )  # fmt: skip
    assert ending.end([result]) == {(message, number)}


def test_a_purge_names_who_and_why(office: Office, client: redis_py.Redis) -> None:
    subscribe()
    (one,) = put(office)
    Delivery.update(error="503 from the shop").execute()
    purging.purge(client, "normal", reason=" test data ", actor=ADA)
    found = events(one.id)
    assert found["cancelled"].error == "purged by user:ada@example.org: test data"
    assert (found["queue.purge"].who, (found["queue.purge"].details or {})["reason"]) == (ADA.name, "test data")
    (later,) = put(office)
    assert "queue.purge" not in events(later.id), "it came after that"


def test_a_purge_of_what_others_wait_for_is_not_told_of_what_was_under_way(office: Office, client: redis_py.Redis) -> None:
    subscribe()
    waiting, under_way = put(office, 2)
    Delivery.update(status="processing", holder=ME).where(Delivery.message == under_way.id).execute()
    purging.purge(client, "normal", reason="x", actor=ADA)
    assert "queue.purge" in events(waiting.id)
    assert "queue.purge" not in events(under_way.id)


def test_a_reset_names_who(office: Office) -> None:
    number = subscribe()
    stuck_one, other = put(office, 2)
    mine = Delivery.message == stuck_one.id
    Delivery.update(status="processing", holder=ME, due_at=database_now() - 2 * HOUR).where(mine).execute()
    assert stuck.reset(HOUR, ADA).total == 1
    assert events(stuck_one.id)["queue.reset-stuck"].who == ADA.name
    assert "queue.reset-stuck" not in events(other.id)
    attempted(stuck_one.id, number, Outcome(kind="delivered", code=200))
    found = events(stuck_one.id)
    assert (found["attempt"].who, found["queue.reset-stuck"].who) == (ADA.name, ADA.name)


def test_a_recovery_names_who_for_those_that_it_recovered(office: Office) -> None:
    number = subscribe()
    failed, fine = put(office, 2)
    attempted(failed.id, number, Outcome(kind="failed", code=404))
    Delivery.update(status="delivered", ended_at=database_now()).where(Delivery.message == fine.id).execute()
    assert resending.recover(number, clock.now() - HOUR, None, ADA, rate=100).recovered == 1
    assert events(failed.id)["webhook.recover"].who == ADA.name
    assert "webhook.recover" not in events(fine.id)
    attempted(failed.id, number, Outcome(kind="delivered", code=200))
    found = events(failed.id)
    assert (found["webhook.recover"].subscription_id, (found["webhook.recover"].details or {})["rate"]) == (number, 100)
    assert found["attempt"].who == ADA.name


def test_who_disabled_enabled_and_removed_the_subscription(office: Office) -> None:
    number, other = subscribe(), subscribe()
    (one,) = put(office)
    subscriptions.disable(number, ADA, why="the shop moves")
    subscriptions.enable(number, BOB)
    subscriptions.disable(other, BOB, why="never mind")
    subscription_removal.remove(number, ADA)
    told = [(event.kind, event.who, event.subscription_id) for event in timeline.of(one.id).events]
    wanted = [
        ("subscription.disable", ADA.name, number),
        ("subscription.enable", BOB.name, number),
        ("subscription.disable", BOB.name, other),
        ("subscription.remove", ADA.name, number),
        ("cancelled", None, number),
    ]
    assert [entry for entry in told if entry in wanted] == wanted
    assert events(one.id)["cancelled"].error == "the subscription was removed"


def test_only_what_happened_while_the_message_was_under_way(office: Office) -> None:
    number = subscribe()
    audit.record_by(ADA, "subscription.disable", "subscription", str(number))
    AuditEntry.update(created_at=clock.now() - HOUR).execute()
    (one,) = put(office)
    Delivery.update(status="delivered", created_at=clock.now() - HOUR / 2, ended_at=clock.now() - HOUR / 4).execute()
    subscription_removal.remove(number, ADA)
    assert not any(kind.startswith("subscription.") for kind in events(one.id))


def test_a_pause_of_its_queue_and_no_other(office: Office) -> None:
    subscribe()
    (one,) = put(office)
    pausing.pause("low", "quiet", ADA)
    assert "queue.pause" not in events(one.id)
    pausing.pause("normal", "the database moves", ADA)
    found = events(one.id)["queue.pause"]
    assert (found.who, found.details, found.subscription_id) == (ADA.name, {"reason": "the database moves"}, None)


def test_why_other_peoples_subscriptions_are_disabled_is_told_to_those_who_may_know(office: Office) -> None:
    number = subscribe(owner="ada@example.org")
    (one,) = put(office)
    subscriptions.disable(number, ADA, why="10.1.2.3 is gone")
    made = User.insert(email="bob@example.org", role="user", password_hash="x", created_at=clock.now()).execute()
    bob = User.get_by_id(made)
    assert "10.1.2.3" in repr(timeline.of(one.id))
    found = timeline.of(one.id, reader=bob)
    assert "10.1.2.3" not in repr(found)
    assert [event.who for event in found.events if event.kind == "subscription.disable"] == [ADA.name]


def test_more_actions_than_are_shown_is_said(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    number = subscribe()
    (one,) = put(office)
    for _ in range(2):
        subscriptions.disable(number, ADA, why="x")
        subscriptions.enable(number, ADA)
    assert timeline.of(one.id).is_whole
    monkeypatch.setattr(timeline, "MOST", 3)
    assert not timeline.of(one.id).is_whole
