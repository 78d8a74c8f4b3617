"""A subscription is given what was never for it."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import peewee as pw
import pytest
from support.dead import later
from support.queued import audited, put, status
from support.subscribing import Office, subscribe

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.errors import Conflict, NotFound
from messagebroker.ops import clock, dead_letter_moves, due, ids, replaying, subscriptions, timeline
from messagebroker.ops.audit import Actor
from messagebroker.ops.dead_letter_pieces import advance
from messagebroker.ops.dead_letter_selection import Selection
from messagebroker.ops.deliveries.routing import router_of
from messagebroker.ops.due import database_now
from messagebroker.ops.replaying import Replay, Replayed
from messagebroker.ops.store import store
from messagebroker.settings import Settings

ADA = Actor(name="user:ada@example.org")
HOUR = timedelta(hours=1)
Delivery: Any = models.Delivery
Message: Any = models.Message


@pytest.fixture
def office(database: pw.Database, settings: Settings) -> Office:
    return Office(settings)


def replay(office: Office, number: int, *, rate: int = 50, **more: Any) -> Replayed:
    return Replay(office.router, number, rate=rate, **more).run(clock.now() - HOUR, None, ADA)


def had(number: int) -> list[bytes]:
    query = Delivery.select(Delivery.message).where(Delivery.subscription_id == number).order_by(Delivery.due_at)
    return [bytes(row[0]) for row in query.tuples()]


def test_what_was_stored_before_it_subscribed_comes_in_order_at_a_rate(office: Office) -> None:
    many = put(office, 20)
    assert status(many[0]) == "delivered", "nobody subscribed"
    late = subscribe(["orders.*"])
    assert replay(office, late, rate=10) == Replayed(found=20, replayed=20, next_since=None, lasts_seconds=2.0)
    assert had(late) == [one.id for one in many]
    rows = list(Delivery.select().order_by(Delivery.due_at))
    assert {row.status for row in rows} == {"pending"}
    assert timedelta(seconds=1.85) < rows[-1].due_at - rows[0].due_at < timedelta(seconds=1.95)
    assert {row.asked_by for row in rows} == {ADA.name}
    assert {(status(one), Message.get_by_id(one.id).routed) for one in many} == {("pending", 1)}


def test_what_was_stored_while_it_was_disabled(office: Office) -> None:
    number = subscribe()
    (before,) = put(office)
    subscriptions.disable(number, ADA, why="asleep")
    meanwhile = put(office, 3)
    with pytest.raises(Conflict, match=r"asleep.*enable it first"):
        Replay(office.router, number, rate=1)
    subscriptions.enable(number, ADA)
    (after,) = put(office)
    assert Replay(office.router, number, rate=50).preview(clock.now() - HOUR).found == 3
    assert replay(office, number).replayed == 3
    assert sorted(had(number)) == sorted([before.id, after.id, *(one.id for one in meanwhile)])
    assert replay(office, number).replayed == 0, "nothing comes twice"


def test_only_what_it_wants(office: Office) -> None:
    wanted = office.record(metadata={"country": "DE"}, priority=0)
    others = [
        office.record(metadata={"country": "FR"}, priority=0),
        office.record(metadata={"country": "DE"}, priority=3),
        office.record(metadata={"country": "DE"}, priority=0, topic="payments"),
        office.record(priority=0),
    ]
    store([wanted, *others], office.keys, now=database_now(), router=office.router)
    number = subscribe(["orders.*"], filter={"priorities": ["critical"], "metadata": {"country": "DE"}})
    assert Replay(office.router, number, rate=50).preview(clock.now() - HOUR).found == 1
    assert replay(office, number).replayed == 1
    assert had(number) == [wanted.id]


def test_only_of_that_time_and_only_what_may_still_come(office: Office) -> None:
    now = clock.micros(clock.now())
    fine, cancelled, expired, over, later = put(office, 5)
    Message.update(status="cancelled").where(Message.id == cancelled.id).execute()
    Message.update(status="expired").where(Message.id == expired.id).execute()
    Message.update(expires_at=clock.now() - HOUR).where(Message.id == over.id).execute()
    (scheduled,) = put(office, deliver_at=now + 3_600_000_000)
    number = subscribe()
    long_ago = clock.now() - 2 * HOUR
    assert Replay(office.router, number, rate=50).run(long_ago, long_ago + HOUR, ADA).replayed == 0
    assert replay(office, number).replayed == 3
    assert had(number) == [fine.id, later.id, scheduled.id]
    row = Delivery.get(Delivery.message == scheduled.id)
    assert clock.micros(row.due_at) == scheduled.deliver_at, "not before its time"
    assert status(scheduled) == "scheduled"


def test_what_failed_for_others_begins_again_and_what_is_its_own_stays(office: Office) -> None:
    number = subscribe()
    (own,) = put(office)
    Delivery.update(status="failed", due_at=None, ended_at=clock.now()).execute()
    Message.update(status="failed").execute()
    second = subscribe()
    assert replay(office, number).replayed == 0, "a dead letter is for `recover`"
    assert replay(office, second).replayed == 1
    assert (status(own), Message.get_by_id(own.id).routed) == ("processing", 2), "one of two has come to its end"


def test_one_that_is_too_long_says_where_to_go_on(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "LOOK", 2)
    monkeypatch.setattr(replaying, "MOST", 4)
    many = put(office, 7)
    for at, one in enumerate(many):  # a second apart, so that a time tells them apart
        Message.update(id=ids.floor(clock.now() - timedelta(seconds=60 - at))).where(Message.id == one.id).execute()
    number = subscribe()
    counted: list[int] = []
    first = replay(office, number, report=counted.append)
    assert (first.replayed, counted) == (4, [2, 4])
    assert first.next_since is not None
    assert first.next_since <= clock.now() - timedelta(seconds=56)
    seen = Replay(office.router, number, rate=1).preview(clock.now() - HOUR)
    assert (seen.found, seen.next_since) == (3, None)
    rest = Replay(office.router, number, rate=50).run(first.next_since, None, ADA)
    assert (rest.replayed, rest.next_since) == (3, None)
    assert len(had(number)) == 7


def test_no_longer_than_a_request_may(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "LOOK", 1)
    put(office, 3)
    number = subscribe()
    assert replay(office, number, seconds=-1).replayed == 1, "a look, so that the next one gets further"
    assert replay(office, number, seconds=60).replayed == 2


def test_it_is_on_record_before_and_after(office: Office) -> None:
    (one,) = put(office)
    number = subscribe()
    replay(office, number, rate=7)
    begun, ended = audited("subscription.replay"), audited("subscription.replayed")
    assert (len(begun), len(ended), begun[0].actor, begun[0].object_id) == (1, 1, ADA.name, str(number))
    assert '"rate":7' in begun[0].details.replace(" ", "")
    assert '"replayed":1' in ended[0].details.replace(" ", "")
    told = {event.kind: event for event in timeline.of(one.id).events}
    assert told["subscription.replay"].who == ADA.name
    assert "subscription.replayed" not in told


def test_the_timeline_of_others_says_nothing_of_it(office: Office) -> None:
    first = subscribe()
    (one,) = put(office)
    Message.update(status="cancelled").execute()
    replay(office, first)
    assert "subscription.replay" not in {event.kind for event in timeline.of(one.id).events}


def test_of_none_that_is_there(office: Office) -> None:
    with pytest.raises(NotFound):
        Replay(office.router, 7, rate=1)


def test_one_that_cannot_be_read(office: Office) -> None:
    number = subscribe(channel="of-a-newer-program")
    with pytest.raises(Conflict, match="cannot be read"):
        Replay(office.router, number, rate=1)


def test_several_at_once_give_each_once(office: Office, settings: Settings) -> None:
    put(office, 300)
    number = subscribe()
    done: list[int] = []

    def run() -> None:
        with connected():
            done.append(Replay(router_of(settings), number, rate=1000).run(clock.now() - HOUR, None, ADA).replayed)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(done), sum(done)) == (4, 300)
    assert len(had(number)) == 300
    assert {row.routed for row in Message.select(Message.routed)} == {1}


def test_a_message_that_others_have_had_still_expires(office: Office) -> None:
    """A client that does not pull it in time leaves it to who ends what is over; until then, what is behind it has to wait."""
    subscribe()
    expires = clock.now() + HOUR
    (one,) = put(office, expires_at=clock.micros(expires))
    Delivery.update(status="delivered", due_at=None, ended_at=clock.now()).execute()
    Message.update(status="delivered", due_at=None).execute()
    late = subscribe(channel="pull", client="acme")
    assert replay(office, late).replayed == 1
    row = Message.get_by_id(one.id)
    assert (row.status, row.due_at) == ("processing", row.expires_at)
    past = clock.now() - HOUR
    Message.update(expires_at=past, due_at=past).execute()
    assert due.release_due() == {"delivered": 1}
    assert Delivery.get(Delivery.subscription_id == late).status == "expired"


def test_what_came_in_this_very_millisecond_is_found(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids count whole milliseconds."""
    (one,) = put(office)
    number = subscribe()
    monkeypatch.setattr(clock, "now", lambda: ids.drawn_at(one.id))
    assert Replay(office.router, number, rate=50).preview(clock.now() - HOUR).found == 1
    assert replay(office, number).replayed == 1


def test_what_was_purged_as_a_dead_letter_stays_away(office: Office) -> None:
    number, other = subscribe(), subscribe()
    gone, back = put(office, 2)
    Delivery.update(status="delivered", due_at=None).where(Delivery.subscription_id == other).execute()
    mine = Delivery.subscription_id == number
    Delivery.update(status="failed", due_at=None, ended_at=clock.now() - HOUR).where(mine).execute()
    first, second = (
        dead_letter_moves.purge(Selection(message_id=ids.text(one.id)), ADA, confirm=1, reason="poison") for one in (gone, back)
    )
    advance()
    dead_letter_moves.undo(second.id, ADA)
    later(first.id)
    for _ in range(3):
        advance()
    assert had(number) == [back.id], "the row of what was purged is gone"
    assert Replay(office.router, number, rate=50).preview(clock.now() - HOUR).found == 0
    Delivery.delete().where(mine).execute()  # as if what was undone had never been for it
    assert replay(office, number).replayed == 1
    assert had(number) == [back.id]
