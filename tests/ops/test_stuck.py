"""Putting right what is stuck, by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import peewee as pw
import pytest
from support.cast import TEST
from support.queued import audited, put, status, statuses
from support.subscribing import Office, subscribe

from messagebroker.db.models import Delivery, Heartbeat, Message
from messagebroker.errors import Refused, Unavailable
from messagebroker.ops import due, stuck
from messagebroker.ops.deliveries import claiming
from messagebroker.ops.due import database_now
from messagebroker.ops.records import Record
from messagebroker.settings import Settings

HOUR = timedelta(hours=1)
ME, GONE = b"m" * 16, b"g" * 16


@pytest.fixture
def office(database: pw.Database, settings: Settings) -> Office:
    return Office(settings)


def beat(holder: bytes) -> None:
    now = database_now()
    Heartbeat.create(instance=holder.hex(), role="worker", host="h", pid=1, started_at=now, seen_at=now)


def claimed(office: Office, holder: bytes, since: timedelta, **changes: Any) -> Record:
    """A delivery that was taken so long ago."""
    (one,) = put(office, **changes)
    claiming.claim([(group, 10) for group in claiming.due()], holder=holder)
    Delivery.update(due_at=database_now() + stuck.LEAST - since).where(Delivery.message == one.id).execute()
    return one


def test_what_is_stuck_is_shown_first_and_then_pending_again(office: Office) -> None:
    subscribe()
    beat(ME)
    old = claimed(office, ME, 2 * HOUR)
    young = claimed(office, ME, HOUR / 2)
    lost = claimed(office, GONE, timedelta(seconds=5), priority=3)
    found = stuck.look(HOUR)
    assert (found.deliveries["normal"], found.deliveries["low"], found.messages) == (1, 1, 0)
    assert found.oldest_seconds == pytest.approx(7200, abs=10)
    assert statuses() == {"processing": 3}, "only looked"
    assert stuck.reset(HOUR, TEST).total == 2
    assert statuses() == {"pending": 2, "processing": 1}
    assert Delivery.get(Delivery.message == young.id).status == "processing"
    assert Delivery.get(Delivery.message == lost.id).status == "pending"
    row = Delivery.get(Delivery.message == old.id)
    assert (row.status, row.holder, row.crashes) == ("pending", None, 0)
    assert row.due_at <= database_now()
    assert len(claiming.claim([(group, 10) for group in claiming.due()], holder=ME)) == 2
    [entry] = audited("queue.reset-stuck")
    assert '"older_than_seconds": 3600' in entry.details


def test_a_reset_that_is_cut_short_is_on_record(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: object) -> None:
        raise Unavailable("gone away")

    subscribe()
    claimed(office, GONE, HOUR)
    monkeypatch.setattr(stuck, "_free", cut)
    with pytest.raises(Unavailable):
        stuck.reset(HOUR, TEST)
    assert len(audited("queue.reset-stuck")) == 1


def test_what_was_reset_still_expires(office: Office) -> None:
    """While it was under way it was looked at once; a client that pulls leaves what is over to others."""
    subscribe(channel="pull", client="acme")
    (one,) = put(office)
    over = database_now() - 2 * HOUR
    Delivery.update(status="processing", holder=GONE, due_at=over).execute()
    Message.update(status="processing", expires_at=over, due_at=None).execute()
    assert stuck.reset(HOUR, TEST).total == 1
    assert due.release_due() == {"expired": 1}
    assert status(one) == "expired"


def test_the_lease_of_a_client_that_pulls_is_its_own(office: Office) -> None:
    number = subscribe(channel="pull", client="acme")
    (one,) = put(office)
    Delivery.update(status="processing", holder=GONE, due_at=database_now() + HOUR).execute()
    assert stuck.look(HOUR).total == 0
    Delivery.update(due_at=database_now() - HOUR).where(Delivery.subscription_id == number).execute()
    assert stuck.reset(HOUR, TEST).total == 1
    assert Delivery.get(Delivery.message == one.id).status == "pending"


def test_messages_that_their_deliveries_left_behind_come_to_their_end(office: Office) -> None:
    subscribe()
    done, failed, waiting, young = put(office, 4)
    past = {"stored_at": database_now() - 2 * HOUR}
    Message.update(status="processing", **past).where(Message.id << [done.id, failed.id, waiting.id]).execute()
    Message.update(status="processing").where(Message.id == young.id).execute()
    for one, end in ((done, "delivered"), (failed, "failed"), (young, "delivered")):
        Delivery.update(status=end, due_at=None).where(Delivery.message == one.id).execute()
    assert stuck.look(HOUR).messages == 2
    assert stuck.reset(HOUR, TEST).messages == 2
    assert [status(one) for one in (done, failed, waiting, young)] == ["delivered", "failed", "processing", "processing"]
    assert stuck.look(HOUR).total == 0
    assert len(audited("queue.reset-stuck")) == 1


def test_many_are_put_right_piece_by_piece(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stuck, "PIECE", 3)
    subscribe()
    subscribe()
    put(office, 5)
    Delivery.update(status="processing", holder=GONE).execute()
    assert stuck.look(HOUR).total == 10
    assert stuck.reset(HOUR, TEST).total == 10
    assert statuses() == {"pending": 10}
    Message.update(status="processing", stored_at=database_now() - 2 * HOUR).execute()
    Delivery.update(status="delivered", due_at=None).execute()
    assert stuck.reset(HOUR, TEST).messages == 5


def test_less_than_a_lease_is_refused(office: Office) -> None:
    with pytest.raises(Refused, match="90 s"):
        stuck.look(timedelta(seconds=89))
