"""The engine with a channel of the test's, on a real table."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import peewee as pw
import pytest
import redis as redis_py
from support.closed_breakers import ClosedBreakers
from support.subscribing import Office, subscribe

from messagebroker.actors.deliveries import claimer
from messagebroker.actors.deliveries.claimer import Claimer
from messagebroker.actors.deliveries.engine import CRITICAL, Engine
from messagebroker.actors.deliveries.items import BEGIN_SECONDS, Item
from messagebroker.actors.deliveries.service import Deliveries
from messagebroker.actors.deliveries.writer import Ended
from messagebroker.db.models import Delivery, DeliveryAttempt, Message, Subscription
from messagebroker.errors import Unavailable
from messagebroker.ops import channels, clock, descriptors
from messagebroker.ops.channels.channel import Outcome, Work
from messagebroker.ops.channels.webhook_config import MOST_IDLE
from messagebroker.ops.deliveries import claiming, orphans
from messagebroker.ops.deliveries.routing import Router
from messagebroker.ops.descriptors import RESERVE
from messagebroker.ops.due import database_now
from messagebroker.ops.keyring import create_master_key
from messagebroker.ops.records import Record
from messagebroker.ops.store import store
from messagebroker.settings import Settings

pytestmark = pytest.mark.clocked

ME = b"m" * 16


class Recorder:
    """A channel that keeps what it is given. `answer` decides; `hold` is waited for."""

    name = "webhook"
    config = secrets = None
    at_once = 4
    merges = 1

    def __init__(self) -> None:
        self.works: list[Work] = []
        self.calls: list[int] = []
        self.running = self.most = 0
        self.answer: Callable[[Work], Outcome] = lambda work: Outcome(kind="delivered", code=200, answer=b"fine")
        self.hold: Callable[[Work], bool] = lambda work: False
        self.closed = False

    async def deliver(self, works: Sequence[Work]) -> Sequence[Outcome]:
        self.calls.append(len(works))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            while any(self.hold(work) for work in works):
                await asyncio.sleep(0.005)
            await asyncio.sleep(0)
            self.works += works
            return [self.answer(work) for work in works]
        finally:
            self.running -= 1

    async def close(self) -> None:
        self.closed = True


class Running:
    """A worker's deliveries without the worker."""

    def __init__(self, settings: Settings, channel: Recorder) -> None:
        self.channel = channel
        self.office = Office(settings)
        self.may_try = True
        self.paused: frozenset[str] = frozenset()
        self.ended: list[Ended] = []
        self.breakers: Any = ClosedBreakers()
        self.engine = Engine(settings, self.office.payloads, ME, may_try=lambda *_: self.may_try, ended=self.ended.extend)
        self.claimer = Claimer(self.engine, self.office.subscriptions, self.breakers, lambda: self.paused)
        self.office.router = Router(self.office.subscriptions, self.office.payloads, self.engine)

    def put(self, count: int = 1, **changes: Any) -> list[Record]:
        records = [self.office.record(**changes) for _ in range(count)]
        self.office.subscriptions.refresh(older_than=0)
        store(records, self.office.keys, now=database_now(), router=self.office.router)
        return records


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    entry = channels.CHANNELS["webhook"]
    monkeypatch.setattr(type(entry), "make", lambda self, settings: made)
    only = {
        "webhook": entry,
        **{name: replace(one, place=None) for name, one in channels.CHANNELS.items() if name != "webhook"},
    }
    monkeypatch.setattr("messagebroker.actors.deliveries.engine.CHANNELS", only)
    return made


@pytest.fixture
def running(database: pw.Database, settings: Settings, channel: Recorder) -> Iterator[Running]:
    made = Running(settings, channel)
    made.engine.start()
    made.engine.prepare(["webhook"])
    try:
        yield made
    finally:
        made.claimer.stop() if made.claimer.lives else None
        if made.engine.lives:
            made.engine.stop(0.2)


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def count(status: str) -> int:
    return int(Delivery.select().where(Delivery.status == status).count())


def test_no_more_is_under_way_than_can_be_connected(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "fitting", lambda number, *, reserve: min(number, 1024 - reserve))
    running.engine.windows.resize(2000)
    assert running.engine.windows.at_once == 1024 - RESERVE - MOST_IDLE
    running.engine.windows.resize(30)
    assert running.engine.windows.at_once == 30


def test_signals_stay_with_the_main_thread(database: pw.Database, settings: Settings, channel: Recorder) -> None:
    """Windows' event loop, made there, would have each written to a socket of its own."""
    signal.set_wakeup_fd(-1)  # of other tests
    engine = Running(settings, channel).engine
    engine.start()
    engine.stop(0.2)
    assert signal.set_wakeup_fd(-1) == -1


def test_a_message_is_delivered_when_it_is_stored(running: Running) -> None:
    number = subscribe()
    (record,) = running.put(body="hello", metadata={"a": 1}, correlation_id="c")
    until(lambda: count("delivered") == 1)
    (work,) = running.channel.works
    assert (work.message_id, work.payload.body, work.payload.metadata, work.attempt) == (record.id, "hello", {"a": 1}, 1)
    assert (work.client, work.topic, work.priority, work.correlation_id) == ("acme", "orders.created", "normal", "c")
    assert work.target.id == number
    assert Message.get_by_id(record.id).status == "delivered"
    until(lambda: len(running.ended) == 1)
    assert running.engine.windows.reserved == running.engine.windows.running == 0


def test_an_answer_is_kept_sealed(running: Running) -> None:
    subscribe()
    (record,) = running.put()
    until(lambda: count("delivered") == 1)
    kept = bytes(DeliveryAttempt.get().answer)
    assert b"fine" not in kept
    assert running.office.payloads.open_answer(record.id, kept, next(iter(running.office.keys.values()))) == b"fine"


def test_more_than_there_is_room_for_follows_from_the_table(running: Running) -> None:
    subscribe()
    running.claimer.start()
    running.put(300)
    until(lambda: count("delivered") == 300)
    assert running.channel.most <= Recorder.at_once
    assert len({work.message_id for work in running.channel.works}) == len(running.channel.works) == 300


def test_a_destination_that_hangs_holds_up_no_other(running: Running) -> None:
    hanging, quick = subscribe(["slow"]), subscribe(["quick"])
    held = threading.Event()
    running.channel.hold = lambda work: work.target.id == hanging and not held.is_set()
    running.claimer.start()
    running.put(50, topic="slow")
    running.put(50, topic="quick")
    until(lambda: Delivery.select().where(Delivery.subscription_id == quick, Delivery.status == "delivered").count() == 50)
    assert {work.target.id for work in running.channel.works} == {quick}
    held.set()
    until(lambda: count("delivered") == 100)


def test_more_destinations_than_there_is_room_for_all_get_theirs(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("messagebroker.actors.deliveries.engine.OTHERS_AT_ONCE", 3)
    running.engine.windows.at_once = 2
    hanging = [subscribe([f"hang.{number}"]) for number in range(10)]
    for number in range(30):
        subscribe([f"quick.{number}"])
    held = threading.Event()
    running.channel.hold = lambda work: work.target.id in hanging and not held.is_set()
    running.claimer.start()
    for number in range(10):
        running.put(1, topic=f"hang.{number}")
    for number in range(30):
        running.put(1, topic=f"quick.{number}")
    until(lambda: running.channel.running == 1)  # one of those of which nothing is known yet
    held.set()
    until(lambda: count("delivered") == 40)


def test_what_waits_begins_when_there_is_room_though_nothing_ends(running: Running) -> None:
    """All that is under way hangs, and an operator lets more be under way."""
    hanging, quick = subscribe(["slow"]), subscribe(["quick"])
    running.engine.windows.at_once = 1
    held = threading.Event()
    running.channel.hold = lambda work: work.target.id == hanging and not held.is_set()
    running.put(2, topic="slow")
    until(lambda: running.channel.running == 1)
    running.put(1, topic="quick")
    time.sleep(0.2)
    assert running.channel.works == []
    running.engine.windows.at_once = 4
    until(lambda: [work.target.id for work in running.channel.works] == [quick])
    assert running.channel.running == 1, "a second one of those that never answered takes no place beside its first"
    held.set()
    until(lambda: count("delivered") == 3)


def test_a_retry_that_is_due_is_made_by_the_poller(running: Running) -> None:
    subscribe(schedule=[0, 0.05, 0.05])
    answers = iter([Outcome(kind="retry", code=503, error="busy")] * 2 + [Outcome(kind="delivered", code=200)])
    running.channel.answer = lambda work: next(answers)
    running.claimer.start()
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    running.put(traceparent=trace, correlation_id="c")
    until(lambda: count("delivered") == 1)
    assert [work.attempt for work in running.channel.works] == [1, 2, 3]
    assert {(work.traceparent, work.correlation_id) for work in running.channel.works} == {(trace, "c")}
    assert [attempt.number for attempt in DeliveryAttempt.select().order_by(DeliveryAttempt.id)] == [1, 2, 3]


def test_a_defect_of_a_channel_is_a_retry_and_no_end_of_deliveries(running: Running) -> None:
    subscribe(schedule=[0, 60])

    def fail(work: Work) -> Outcome:
        raise RuntimeError(f"cannot deliver {work.payload.body}")

    running.channel.answer = fail
    running.put()
    until(lambda: DeliveryAttempt.select().count() == 1)
    assert DeliveryAttempt.get().error == "RuntimeError in this program, whose log says more"
    assert running.engine.lives


def test_what_does_not_open_is_a_dead_letter(running: Running) -> None:
    subscribe()
    record = running.office.record()
    broken = type(record)(**{**{name: getattr(record, name) for name in record.__struct_fields__}, "sealed": b"x" * 60})
    running.office.subscriptions.refresh(older_than=0)
    store([broken], running.office.keys, now=database_now(), router=running.office.router)
    until(lambda: count("failed") == 1)
    assert "cannot be opened" in Delivery.get().error
    assert running.channel.works == []


def test_a_paused_queue_and_a_destination_that_may_not_be_tried_wait(running: Running) -> None:
    subscribe()
    running.may_try = False
    running.paused = frozenset({"low"})
    running.claimer.start()
    running.put(1, priority=3)
    running.put(1, priority=2)
    until(lambda: count("delivered") == 1)
    time.sleep(0.4)
    assert count("pending") == 1
    running.paused = frozenset()
    until(lambda: count("delivered") == 2)


def test_what_is_not_begun_is_given_back_when_the_worker_stops(running: Running) -> None:
    subscribe()
    running.channel.hold = lambda work: True
    running.put(10)
    until(lambda: running.channel.running == 4)
    running.engine.stop(0.1)
    assert (count("pending"), count("processing"), running.channel.closed) == (10, 0, True)
    assert DeliveryAttempt.select().count() == 0


def test_what_is_under_way_may_end_when_the_worker_stops(running: Running) -> None:
    subscribe()
    held = threading.Event()
    running.channel.hold = lambda work: not held.is_set()
    running.put(2)
    until(lambda: running.channel.running == 2)
    threading.Timer(0.2, held.set).start()
    running.engine.stop(5)
    assert count("delivered") == 2


def test_critical_messages_overtake_a_backlog(running: Running) -> None:
    """Of the same destination: what is more urgent is claimed first."""
    subscribe()
    running.may_try = False  # all of it waits in the table
    running.put(500, priority=3)
    running.put(1, priority=0)
    running.claimer.start()
    until(lambda: any(work.priority == "critical" for work in running.channel.works))
    assert [work.priority for work in running.channel.works].index("critical") < 50


def test_outcomes_are_written_when_the_database_is_back(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    from messagebroker.actors.deliveries import writer

    real, tries = writer.ending.end, []

    def failing(results: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise pw.OperationalError(2006, "gone")
        return real(results)

    monkeypatch.setattr(writer.ending, "end", failing)
    subscribe()
    running.put()
    until(lambda: count("delivered") == 1)
    assert len(running.channel.works) == 1


def test_what_was_claimed_and_not_begun_goes_back_when_its_queue_is_paused(running: Running) -> None:
    subscribe()
    go = threading.Event()
    running.channel.hold = lambda work: not go.is_set()
    running.engine.windows.at_once = 1
    running.put(4)
    until(lambda: running.engine.windows.running == 1)
    assert count("processing") == 4
    assert running.engine.rest({"low"}) == 0
    assert running.engine.rest({"normal"}) == 3
    assert (count("pending"), count("processing"), running.engine.windows.reserved) == (3, 1, 1)
    go.set()
    until(lambda: count("delivered") == 1)
    assert count("pending") == 3, "what is under way comes to its end, and no more"
    running.claimer.start()
    until(lambda: count("delivered") == 4)


# what may go wrong


def _away(*_: Any, **__: Any) -> Any:
    raise Unavailable("a deadlock")


@pytest.mark.parametrize("step", ["orphans", "claim"])
def test_a_look_at_the_table_that_fails_keeps_no_places(running: Running, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    running.may_try = False
    gone = subscribe(["orders.*"])
    subscribe(["orders.*"])
    running.put(3)
    Subscription.update(removed_at=clock.now()).where(Subscription.id == gone).execute()
    running.office.subscriptions.refresh(older_than=0)
    monkeypatch.setattr(*((orphans, "end", _away) if step == "orphans" else (claiming, "claim", _away)))
    running.claimer._round()
    assert running.engine.windows.reserved == 0


def test_a_defect_does_not_end_the_looks(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect() -> Any:
        raise ValueError("nobody foresaw it")

    monkeypatch.setattr(claiming, "due", defect)
    assert running.claimer._round() == (claimer.OUTAGE_SECONDS, False)


def test_an_outage_of_the_database_is_no_crash_of_a_worker(running: Running) -> None:
    """Nobody could beat, or write down how attempts ended: what is held stays held until all have had time for it."""
    subscribe()
    running.may_try = False
    running.put()
    claiming.claim([(group, 1) for group in claiming.due()], holder=b"x" * 16)
    Delivery.update(due_at=database_now() - timedelta(minutes=5)).execute()
    steady = False
    running.claimer._is_steady = lambda: steady
    running.claimer._rescue()
    assert (count("processing"), Delivery.get().crashes) == (1, 0)
    steady = True
    running.claimer._rescue()
    assert (count("pending"), Delivery.get().crashes) == (1, 1)


def test_a_database_whose_clock_leapt_calls_nobody_gone(running: Running) -> None:
    """All leases are over then, and all heartbeats old, though everybody is at work."""
    subscribe()
    running.may_try = False
    running.put()
    claiming.claim([(group, 1) for group in claiming.due()], holder=b"x" * 16)
    Delivery.update(due_at=database_now() - timedelta(minutes=5)).execute()
    has_leapt = True
    running.claimer._clock.has_leapt = lambda: has_leapt  # type: ignore[method-assign]
    running.claimer._rescue()
    assert count("processing") == 1
    has_leapt = False
    running.claimer._rescue()
    assert count("pending") == 1


def test_who_is_not_seen_claims_nothing(running: Running) -> None:
    subscribe()
    running.may_try = False  # what is stored is claimed from the table
    running.put()
    is_seen = False
    running.claimer._is_seen = lambda: is_seen
    running.claimer._round()
    assert (count("pending"), running.channel.works) == (1, [])
    is_seen = True
    running.claimer._round()
    until(lambda: count("delivered") == 1)


def test_who_is_not_seen_keeps_nothing_that_it_stores(settings: Settings, database: pw.Database, redis_url: str) -> None:
    create_master_key(settings)
    is_seen = False
    with redis_py.Redis.from_url(redis_url) as client:
        deliveries = Deliveries(settings, client, ME, frozenset, is_seen=lambda: is_seen)
        subscribed: Any = SimpleNamespace(id=1)
        assert not deliveries._may_try(subscribed, CRITICAL)
        is_seen = True
        assert deliveries._may_try(subscribed, CRITICAL)


def test_what_waited_too_long_for_its_lease_goes_back_and_counts_as_no_crash(running: Running) -> None:
    """Destinations that hang keep others of theirs waiting: what is begun late could be somebody else's by its end."""
    subscribe()
    running.engine.windows.at_once = 1
    running.channel.hold = lambda work: True
    running.put(3)
    until(lambda: running.engine.windows.running == 1)
    known = running.office.subscriptions.current
    assert running.engine.give_back_late(known) == 0
    for waiting in running.engine._waiting._lines.values():
        for item in list(waiting):
            waiting.append(replace(waiting.popleft(), begin_by=item.begin_by - BEGIN_SECONDS))
    assert running.engine.give_back_late(known) == 2
    assert (count("pending"), count("processing"), running.engine.windows.reserved) == (2, 1, 1)
    assert {row.crashes for row in Delivery.select()} == {0}


def test_what_waits_while_its_subscription_changes_is_claimed_anew(running: Running) -> None:
    number = subscribe()
    running.engine.windows.at_once = 1
    go = threading.Event()
    running.channel.hold = lambda work: not go.is_set()
    running.put(2)
    until(lambda: running.engine.windows.running == 1)
    Subscription.update(config='{"url": "https://new.example.org"}', changed_at=clock.now()).execute()
    running.office.subscriptions.refresh(older_than=0)
    assert running.engine.give_back_late(running.office.subscriptions.current) == 1
    running.claimer.start()
    go.set()
    until(lambda: count("delivered") == 2)
    assert [work.target.config.url for work in running.channel.works][-1] == "https://new.example.org"
    assert number in running.office.subscriptions.current


def test_what_cannot_be_given_back_is_kept(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    subscribe()
    running.engine.windows.at_once = 1
    go = threading.Event()
    running.channel.hold = lambda work: not go.is_set()
    running.put(3)
    until(lambda: running.engine.windows.running == 1)
    monkeypatch.setattr(claiming, "give_back", _away)
    with pytest.raises(Unavailable):
        running.engine.rest({"normal"})
    assert running.engine.windows.reserved == 3
    go.set()
    until(lambda: count("delivered") == 3)


@pytest.mark.parametrize("place", ["deliver", "work"])
def test_a_defect_around_an_attempt_keeps_no_place(running: Running, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    subscribe(schedule=[0, 60])

    async def forgetful(works: Sequence[Work]) -> Sequence[Outcome]:
        return []

    def defect(*_: Any) -> Any:
        raise KeyError("oh")

    monkeypatch.setattr(*((running.channel, "deliver", forgetful) if place == "deliver" else (Item, "work", defect)))
    running.put()
    until(lambda: len(running.ended) == 1)
    assert (count("pending"), running.engine.windows.reserved, running.engine.windows.running) == (1, 0, 0)


def test_an_answer_that_cannot_be_written_stops_no_other(running: Running) -> None:
    subscribe()
    odd = Outcome(kind="failed", code=400, error="it said \udcff")
    running.channel.answer = lambda work: odd if work.payload.body == "odd" else Outcome(kind="delivered", code=200)
    running.put(body="odd")
    running.put(3)
    until(lambda: count("delivered") == 3 and count("failed") == 1)
    assert Delivery.get(Delivery.status == "failed").error == "it said ?"
    assert running.engine.lives


def test_a_stop_while_the_database_is_away_leaves_the_rest_to_leases(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    subscribe()
    running.channel.hold = lambda work: True
    running.put(6)
    until(lambda: running.channel.running == 4)
    monkeypatch.setattr(claiming, "give_back", _away)
    running.engine.stop(0.1)
    assert (running.channel.closed, running.engine.lives) == (True, False)
