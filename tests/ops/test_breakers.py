"""Circuit breakers: two `Breakers` stand for two worker processes that share a real Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import peewee as pw
import pytest
import redis as redis_py
from support.cast import audited
from support.servers import Redis

from messagebroker.db.models import BreakerEvent, Subscription, SubscriptionNotice
from messagebroker.db.writing import give_up_connection
from messagebroker.ops import breaker_events, breakers, clock
from messagebroker.ops.breaker_state import CLOSED, HALF_OPEN, OPEN, PROBE_SECONDS, Entry, encoded
from messagebroker.ops.breaker_store import CHANGED, ENTRIES, EPOCH, NUMBER
from messagebroker.ops.breakers import Breakers
from messagebroker.ops.metrics import BREAKERS_OPEN
from messagebroker.ops.redis_client import connect
from messagebroker.settings import Settings, load

pytestmark = pytest.mark.clocked

FAILURES, SECONDS = 3, 0.15


@pytest.fixture
def settings(database: pw.Database, redis_url: str) -> Settings:
    return quick(redis_url)


def quick(url: str, **changes: Any) -> Settings:
    given = {"breaker_failures": FAILURES, "breaker_seconds": SECONDS, "breaker_max_seconds": 4 * SECONDS, **changes}
    return load({}, environment="test", redis_url=url, **given)


@pytest.fixture
def process(settings: Settings) -> Iterator[Callable[[], Breakers]]:
    """Another process that has just started."""
    clients: list[redis_py.Redis] = []

    def start(settings: Settings = settings) -> Breakers:
        clients.append(connect(settings))
        made = Breakers(clients[-1], settings)
        made.refresh()
        return made

    yield start
    for client in clients:
        client.close()
    give_up_connection()


@pytest.fixture
def one(process: Callable[[], Breakers]) -> Breakers:
    return process()


@pytest.fixture
def other(process: Callable[[], Breakers]) -> Breakers:
    return process()


def subscription(**changes: Any) -> int:
    now = clock.now()
    row = {"name": "s", "channel": "webhook", "topics": "[]", "config": "{}", "created_at": now, "changed_at": now, **changes}
    return int(Subscription.insert(**row).execute())


@pytest.fixture
def target(settings: Settings) -> int:
    return subscription()


def events(target: int) -> list[str]:
    found = BreakerEvent.select().where(BreakerEvent.subscription_id == target).order_by(BreakerEvent.id)
    return [row.state for row in found]


def fail(process: Breakers, target: int, times: int = FAILURES) -> None:
    for _ in range(times):
        process.record(target, 0, 1, "HTTP 503")


def wait_for_the_end(process: Breakers, target: int) -> None:
    left = process.blocked_until(target)
    assert left is not None
    time.sleep(left + 0.01)


class Spy:
    """Counts what is sent to Redis."""

    def __init__(self, process: Breakers, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = 0
        client = process._memory.store._redis
        run = client.execute_command

        def counted(*words: Any, **options: Any) -> Any:
            self.sent += 1
            return run(*words, **options)

        monkeypatch.setattr(client, "execute_command", counted)


def test_a_success_where_nothing_has_failed_costs_nothing(one: Breakers, target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(one, monkeypatch)
    for _ in range(100):
        one.record(target, 5, 0)
        assert one.blocked_until(target) is None
        assert one.may_try(target) is None
    assert spy.sent == 0
    for _ in range(10):
        one.refresh()
    assert spy.sent == 10, "one round trip for each look"


def test_failures_in_a_row_open_it_for_everybody(one: Breakers, other: Breakers, target: int) -> None:
    fail(one, target, FAILURES - 1)
    other.refresh()
    assert (one.may_try(target), other.may_try(target)) == (None, None)
    fail(other, target, 1)
    assert other.may_try(target) == 0
    one.refresh()
    assert one.may_try(target) == 0
    left = one.blocked_until(target)
    assert left is not None
    assert 0 < left <= SECONDS * 1.2
    assert events(target) == [OPEN]
    assert one.may_try(target + 1) is None, "one destination is not another"
    assert BREAKERS_OPEN.collect()[0].samples[0].value == 1


def test_a_success_in_between_begins_anew_for_everybody(one: Breakers, other: Breakers, target: int) -> None:
    fail(one, target, FAILURES - 1)
    other.refresh()
    other.record(target, 1, 0)
    fail(one, target, FAILURES - 1)
    assert one.may_try(target) is None
    one.record(target, 1, 500, "HTTP 503")  # of those that ended together one worked
    fail(one, target, FAILURES - 1)
    assert events(target) == []


def test_many_failures_at_once_count_as_many(one: Breakers, target: int) -> None:
    one.record(target, 0, 50, "timeout")
    assert events(target) == [OPEN]
    [row] = BreakerEvent.select()
    assert row.why == "50 failures in a row, the last one: timeout"


def test_one_probe_for_all_processes_and_a_success_closes(one: Breakers, other: Breakers, target: int) -> None:
    fail(one, target)
    other.refresh()
    wait_for_the_end(one, target)
    for process in (one, other):
        assert process.may_try(target) == 0, "the probe is asked for, by the next refresh"
    for process in (one, other, one, other):
        process.refresh()
    assert [process.may_try(target) for process in (one, other)] == [1, 0]
    assert [process.may_try(target) for process in (one, other)] == [0, 0], "the probe is given once"
    assert one.blocked_until(target) is None, "the probe itself is not held up"
    assert 0 < (other.blocked_until(target) or 0) <= 1
    one.record(target, 1, 0)
    other.refresh()
    assert [process.may_try(target) for process in (one, other)] == [None, None]
    assert events(target) == [OPEN, HALF_OPEN, CLOSED]


def test_many_at_once_open_it_once_and_send_one_probe(process: Callable[[], Breakers], target: int) -> None:
    processes = [process() for _ in range(6)]

    def at_once(work: Callable[[Breakers], object]) -> list[object]:
        def run(here: Breakers) -> object:
            try:
                return work(here)
            finally:
                give_up_connection()

        with ThreadPoolExecutor(len(processes)) as pool:
            return list(pool.map(run, processes))

    at_once(lambda here: fail(here, target))
    assert events(target) == [OPEN]
    assert len(audited("breaker.open")) == 1
    at_once(lambda here: here.refresh())
    wait_for_the_end(processes[0], target)

    def ask(here: Breakers) -> object:
        here.may_try(target)
        here.refresh()
        return here.may_try(target)

    assert sorted(at_once(ask), key=str) == [0, 0, 0, 0, 0, 1]
    assert events(target) == [OPEN, HALF_OPEN]


def test_a_probe_that_was_not_needed_is_given_back(one: Breakers, target: int) -> None:
    fail(one, target)
    wait_for_the_end(one, target)
    one.may_try(target)
    one.refresh()
    assert one.may_try(target) == 1
    one.untried(target)
    assert one.may_try(target) == 1


def test_each_probe_that_fails_doubles_the_pause_up_to_the_longest(one: Breakers, target: int) -> None:
    fail(one, target)
    pauses = []
    for _ in range(5):
        pauses.append(one._memory.entry(target).wait)
        one._memory.known[target] = breakers_due(one, target)
        one.may_try(target)
        one.refresh()
        assert one.may_try(target) == 1
        fail(one, target, 1)
        assert one.may_try(target) == 0
    for pause, factor in zip(pauses, (1, 2, 4, 4, 4), strict=True):
        assert SECONDS * factor <= pause <= SECONDS * factor * 1.2
    assert len(set(pauses)) == 5, "not all destinations are tried in the same moment"
    assert one._memory.entry(target).failures == FAILURES + 5


def breakers_due(process: Breakers, target: int) -> Any:
    """As it is when its pause is over."""
    known = process._memory.known[target]
    return type(known)(known.entry, time.monotonic(), known.since)


def test_a_probe_of_a_process_that_died_is_given_to_another(
    one: Breakers, other: Breakers, target: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messagebroker.ops.breaker_state.PROBE_SECONDS", 0.2)
    fail(one, target)
    wait_for_the_end(one, target)
    one.may_try(target)
    one.refresh()
    assert one.may_try(target) == 1
    other.refresh()
    assert other.may_try(target) == 0
    time.sleep(0.21)
    other.may_try(target)
    other.refresh()
    assert other.may_try(target) == 1
    assert events(target) == [OPEN, HALF_OPEN]


def test_what_was_on_its_way_when_it_opened_says_nothing_but_a_success_does(one: Breakers, target: int) -> None:
    fail(one, target)
    before = one._memory.entry(target)
    fail(one, target, 20)
    assert one._memory.entry(target) == before
    one.record(target, 1, 0)
    assert one.may_try(target) is None
    assert events(target) == [OPEN, CLOSED]


def test_one_alert_for_each_outage(one: Breakers, other: Breakers, target: int) -> None:
    Subscription.update(owner="ada@example.org").where(Subscription.id == target).execute()
    for outage in (1, 2):
        fail(one, target)
        for process in (one, other):  # a probe that fails is no outage of its own
            process.refresh()
            process._memory.known[target] = breakers_due(process, target)
            process.may_try(target)
            process.refresh()
            assert process.may_try(target) == 1
            fail(process, target, 1)
        one.refresh()
        one.record(target, 1, 0)
        other.refresh()
        found = audited("breaker.open")
        assert [row.object_id for row in found] == [str(target)] * outage
        assert "HTTP 503" in json.loads(found[-1].details)["why"]
        assert [row.kind for row in SubscriptionNotice.select()] == ["breaker.open"] * outage
    assert events(target) == [OPEN, HALF_OPEN, OPEN, HALF_OPEN, OPEN, CLOSED] * 2


def test_a_restarted_process_knows_what_is_open(one: Breakers, process: Callable[[], Breakers], target: int) -> None:
    fail(one, target)
    assert process().may_try(target) == 0


def test_an_emptied_redis_is_filled_by_who_remembers(
    one: Breakers, other: Breakers, process: Callable[[], Breakers], target: int, redis_url: str
) -> None:
    counted = subscription()
    fail(one, target)
    fail(one, counted, 1)
    other.refresh()
    with redis_py.Redis.from_url(redis_url) as client:
        client.flushall()
        fail(one, counted, 1)  # before anybody has looked
        for here in (one, other):
            here.refresh()
        assert client.hlen(ENTRIES) == 2
    late = process()
    assert [here.may_try(target) for here in (one, other, late)] == [0, 0, 0]
    for here in (other, late):
        here.refresh()
    fail(late, counted, 1)
    assert late.may_try(counted) is not None, "its failures were not forgotten"
    assert events(target) == [OPEN]
    assert len(audited("breaker.open")) == 2


def test_redis_emptied_while_everything_was_down_is_filled_from_the_events(
    one: Breakers, process: Callable[[], Breakers], target: int, redis_url: str
) -> None:
    fail(one, target)
    with redis_py.Redis.from_url(redis_url) as client:
        client.flushall()
    late = process()
    assert late.may_try(target) == 0
    late.refresh()
    assert late.may_try(target) == 1, "nobody knows how long it was to stay open: a probe goes at once"
    late.record(target, 1, 0)
    assert events(target) == [OPEN, HALF_OPEN, CLOSED]
    assert len(audited("breaker.open")) == 1


def test_nothing_that_somebody_wrote_into_redis_stops_deliveries(one: Breakers, target: int, redis_url: str) -> None:
    fail(one, target)
    with redis_py.Redis.from_url(redis_url) as client:
        client.hset(ENTRIES, target, b"\xc1 rubbish")
        fail(one, target, 1)
        one.record(target, 1, 0)
        fail(one, target)
        assert one.may_try(target) == 0
        client.delete(ENTRIES)
        client.set(ENTRIES, "of another type")
        one.record(target, 1, 0)
        one.refresh()
        assert one.may_try(target) is None
        client.delete(ENTRIES)
        client.zadd(CHANGED, {"no number": 1e9})
        fail(one, target)
        one.refresh()
        assert one.may_try(target) == 0
        client.zrem(CHANGED, "no number")
        for rubbish in ("rubbish", "-1"):
            client.set(NUMBER, rubbish)
            one.refresh()
            one.record(target, 1, 0)
            assert one.may_try(target) is None


@pytest.mark.parametrize("moment", [1e300, float("inf"), float("nan")])
def test_no_entry_that_somebody_wrote_holds_anybody_up_for_ever(
    one: Breakers, target: int, redis_url: str, moment: float
) -> None:
    fail(one, target)
    entry = Entry(state=OPEN, failures=9, opens=1, since=1.0, until=moment, wait=moment, error="x" * 1_000_000)
    with redis_py.Redis.from_url(redis_url) as client:
        client.hset(ENTRIES, target, encoded(entry))
        client.zadd(CHANGED, {str(target): int(client.incr(NUMBER))})
    one.refresh()
    left = one.blocked_until(target)
    assert left is not None
    assert 0 < left <= PROBE_SECONDS, "the longest that anything lasts, with these rules"
    assert len(one._memory.entry(target).error) == 200, "it is written to a column"


def test_a_redis_that_came_back_from_an_older_file_is_read_again(
    one: Breakers, other: Breakers, target: int, redis_url: str
) -> None:
    fail(one, target)
    with redis_py.Redis.from_url(redis_url) as client:
        kept = {key: client.dump(key) for key in client.keys("messagebroker:breakers*")}
        for _ in range(5):
            one.record(target, 1, 0)
            fail(one, target)
        one.record(target, 1, 0)
        other.refresh()
        assert other.may_try(target) is None
        for key, data in kept.items():
            client.restore(key, 0, data, replace=True)
    other.refresh()
    assert other.may_try(target) == 0


def test_clocks_that_are_set_back_hold_nobody_up_for_long(one: Breakers, process: Callable[[], Breakers], target: int) -> None:
    late = process()
    fail(one, target)
    store = late._memory.store
    look = store.look

    def an_hour_ago() -> Any:
        found = look()
        store._offset -= 3600
        return found

    store.look = an_hour_ago  # type: ignore[method-assign]
    late.refresh()
    assert 0 < (late.blocked_until(target) or 0) <= SECONDS * 1.2


def test_the_database_away_loses_no_event(one: Breakers, target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    change = breaker_events.change

    def away(*_: Any, **__: Any) -> bool:
        raise pw.OperationalError("gone away")

    monkeypatch.setattr(breaker_events, "change", away)
    fail(one, target)
    assert one.may_try(target) == 0
    one.record(target, 1, 0)
    fail(one, target)
    one.refresh()
    assert events(target) == []
    monkeypatch.setattr(breaker_events, "change", change)
    one.refresh()
    assert events(target) == [OPEN, CLOSED, OPEN]


def test_a_process_that_ended_before_it_wrote_is_made_up_for(
    one: Breakers, other: Breakers, target: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakers, "COMPARE_SECONDS", -1.0)
    monkeypatch.setattr(breaker_events, "_SETTLED", breaker_events._SETTLED * 0)
    removed = subscription(removed_at=clock.now())
    for lost in (OPEN, CLOSED):
        with monkeypatch.context() as ending:
            ending.setattr(one, "_write", lambda: None)
            if lost == OPEN:
                fail(one, target)
                fail(one, removed)
            else:
                one.record(target, 1, 0)
            one._unwritten.clear()
        for _ in range(2):
            other.refresh()
    assert events(target) == [OPEN, CLOSED]
    assert len(audited("breaker.open")) == 1
    assert events(removed) == []
    one.refresh()
    assert one.may_try(removed) is None, "nobody needs it any more"


def test_without_redis_from_the_beginning(database: pw.Database, target: int) -> None:
    settings = quick("redis://127.0.0.1:1/0")
    with connect(settings) as client:
        alone = Breakers(client, settings)
        alone.refresh()
        fail(alone, target)
        assert alone.may_try(target) == 0
        wait_for_the_end(alone, target)
        alone.may_try(target)
        alone.refresh()
        assert alone.may_try(target) == 1
        alone.record(target, 1, 0)
        assert alone.may_try(target) is None
    assert events(target) == [OPEN, HALF_OPEN, CLOSED]
    give_up_connection()


@pytest.mark.tier("processes")
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_redis_stopped_and_started_in_between(database: pw.Database) -> None:
    target, second, third = (subscription() for _ in range(3))
    with Redis() as server:
        settings = quick(server.url, breaker_seconds=60)
        with connect(settings) as first_client, connect(settings) as second_client:
            one, other = Breakers(first_client, settings), Breakers(second_client, settings)
            for process in (one, other):
                process.refresh()
            fail(one, target)
            other.refresh()
            server.stop()
            began = time.monotonic()
            fail(one, second)
            fail(other, third)
            other.record(target, 1, 0)
            for process in (one, other):
                process.refresh()
            assert time.monotonic() - began < 5
            assert [one.may_try(number) for number in (target, second, third)] == [0, 0, None]
            assert [other.may_try(number) for number in (target, second, third)] == [None, None, 0]
            server.start()
            for process in (one, other, one):
                process.refresh()
            for process in (one, other):
                assert [process.may_try(number) for number in (target, second, third)] == [None, 0, 0]
    assert events(target) == [OPEN, CLOSED]
    assert events(second) == events(third) == [OPEN]
    assert len(audited("breaker.open")) == 3
    give_up_connection()


@pytest.mark.tier("processes")
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_redis_that_hangs_costs_one_timeout_and_not_one_for_each_record(database: pw.Database) -> None:
    target = subscription()
    with Redis() as server:
        settings = quick(server.url, breaker_failures=1000, redis_read_timeout=0.5)
        with connect(settings) as client:
            one = Breakers(client, settings)
            one.refresh()
            server.pause()
            began = time.monotonic()
            fail(one, target, 100)
            took = time.monotonic() - began
            server.resume()
            assert took < 1.5
            one.refresh()
            assert client.exists(EPOCH)
            assert one._memory.entry(target).failures == 100
    give_up_connection()
