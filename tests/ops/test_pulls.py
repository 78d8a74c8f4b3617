"""Messages that clients take: leases, who holds them, what becomes of them, and their order."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from datetime import timedelta
from typing import Any

import peewee as pw
import pytest
from support.pulled import LONG_AGO, Pulled, delivery, run_out, status_of, subscribe

from messagebroker.db.connection import connected
from messagebroker.db.models import Delivery, DeliveryAttempt, Message, Subscription
from messagebroker.errors import NotFound
from messagebroker.ops import clock, ids, keyring, leases, pull_leases, pulls, steering
from messagebroker.ops.deliveries import choosing, rescue
from messagebroker.ops.deliveries.opening import Payloads
from messagebroker.ops.due import database_now
from messagebroker.ops.pulls import Taken
from messagebroker.ops.queues import QUEUES
from messagebroker.settings import Settings, load

of_servers = pytest.mark.parametrize("database", ["mariadb", "mysql"], indirect=True)  # SQLite has one writer


@pytest.fixture
def settings(database: pw.Database, tmp_path: Any) -> Settings:
    made = load({}, data_dir=tmp_path, environment="test")
    keyring.first_secrets(made)
    return made


@pytest.fixture
def pulled(settings: Settings) -> Pulled:
    return Pulled(settings)


@pytest.fixture
def payloads(settings: Settings) -> Payloads:
    return Payloads(settings)


def take(payloads: Payloads, number: int, *, client: str = "owner", limit: int = 10, lease: float = 60) -> list[Taken]:
    return pulls.take(payloads, number, client, limit=limit, lease_seconds=lease)


def bodies(taken: list[Taken]) -> list[str | None]:
    return [one.body for one in taken]


def lease_ids(taken: list[Taken]) -> list[str]:
    return [one.lease_id for one in taken]


def test_what_a_client_takes_is_all_of_the_message(pulled: Pulled, payloads: Payloads) -> None:
    number = subscribe()
    stored = pulled.put(number, topic="orders.new", correlation_id="c 1", traceparent="00-aa-bb-01", client_id="till-7")
    [one] = take(payloads, number)
    assert (one.message_id, one.topic, one.client, one.priority, one.attempt) == (stored, "orders.new", "till-7", "normal", 1)
    assert (one.body, one.body_base64, one.sender, one.metadata) == ("hello", None, "+491511", {"colour": "red"})
    assert (one.correlation_id, one.traceparent) == ("c 1", "00-aa-bb-01")
    row = delivery(stored)
    assert timedelta(0) <= row.due_at - one.lease_until < timedelta(seconds=5), "the lease lasts as long as was said"
    assert status_of(stored) == ("processing", "processing")
    assert take(payloads, number) == [], "it is taken"


def test_bytes_are_told_apart_from_text(pulled: Pulled, payloads: Payloads) -> None:
    number = subscribe()
    pulled.put(number, b"\x00\xff")
    [one] = take(payloads, number)
    assert (one.body, one.body_base64) == (None, b"\x00\xff")


def test_the_urgent_first_then_the_oldest(pulled: Pulled, payloads: Payloads) -> None:
    number = subscribe()
    for at, (body, priority) in enumerate([("c", "normal"), ("d", "normal"), ("a", "critical"), ("e", "low"), ("b", "high")]):
        pulled.put(number, body, priority=priority, due_at=clock.now() - LONG_AGO + timedelta(seconds=at))
    pulled.put(number, "later", priority="critical", due_at=clock.now() + LONG_AGO)
    pulled.put(number, "over", expires_at=clock.now() - LONG_AGO)
    pulled.put(subscribe(), "another's")
    assert bodies(take(payloads, number, limit=3)) == ["a", "b", "c"]
    assert bodies(take(payloads, number)) == ["d", "e"]


def test_what_is_paused_is_not_given(pulled: Pulled, payloads: Payloads, monkeypatch: pytest.MonkeyPatch) -> None:
    number = subscribe()
    pulled.put(number, "low", priority="low")
    pulled.put(number, "normal")
    monkeypatch.setattr(steering, "paused", lambda: frozenset({"normal"}))
    assert bodies(take(payloads, number)) == ["low"]
    monkeypatch.setattr(steering, "paused", lambda: frozenset({"critical", "high", "normal", "low"}))
    assert take(payloads, number) == []


def test_large_ones_come_one_by_one(pulled: Pulled, payloads: Payloads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulls, "MOST_BYTES", 100)
    number = subscribe()
    for body in ("x" * 90, "y" * 20, "z" * 200):
        pulled.put(number, body)
    assert [len(taken) for taken in (take(payloads, number) for _ in range(4))] == [1, 1, 1, 0]


@pytest.mark.parametrize("client", ["other", "OWNER", ""])
def test_a_subscription_is_its_clients_alone(pulled: Pulled, payloads: Payloads, client: str) -> None:
    number = subscribe()
    pulled.put(number)
    with pytest.raises(NotFound):
        take(payloads, number, client=client)
    assert len(take(payloads, number)) == 1


def test_what_is_removed_disabled_or_no_pull_gives_nothing(pulled: Pulled, payloads: Payloads) -> None:
    removed, hook = subscribe(removed_at=clock.now()), subscribe(channel="webhook")
    disabled = subscribe(disabled_at=clock.now(), disabled_why="as asked")
    for number in (removed, hook, disabled):
        pulled.put(number)
    for number in (removed, hook, 999):
        with pytest.raises(NotFound):
            take(payloads, number)
    with pytest.raises(pulls.Disabled, match="as asked"):
        take(payloads, disabled)
    assert pulls.with_due([removed, disabled]) == []


def test_acknowledged_is_delivered_and_asking_twice_is_no_harm(pulled: Pulled, payloads: Payloads) -> None:
    number = subscribe()
    stored = [pulled.put(number, str(at)) for at in range(3)]
    source, taken = pulls.find(number, "owner"), take(payloads, number)
    first, second, third = lease_ids(taken)
    assert pull_leases.acknowledge(source, [first, "nonsense", second]) == ["done", "lost", "done"]
    assert pull_leases.acknowledge(source, [second, first, third, third]) == ["done"] * 4
    assert pull_leases.give_back(source, [first]) == ["lost"], "what was acknowledged is not returned"
    assert pull_leases.extend(source, [first], lease_seconds=60)[0] == ["lost"]
    assert {status_of(one) for one in stored} == {("delivered", "delivered")}
    attempts = [(row.outcome, row.number, row.error) for row in DeliveryAttempt.select()]
    assert attempts == [("delivered", 1, None)] * 3
    assert {row.attempts for row in Message.select()} == {1}


def test_returned_comes_again_and_at_last_is_a_dead_letter(pulled: Pulled, payloads: Payloads) -> None:
    number = subscribe(config='{"max_attempts": 2}')
    stored = pulled.put(number)
    source = pulls.find(number, "owner")
    [one] = lease_ids(take(payloads, number))
    assert pull_leases.give_back(source, [one, one]) == ["done", "done"]
    assert pull_leases.give_back(source, [one]) == ["done"], "said twice"
    assert pull_leases.acknowledge(source, [one]) == ["lost"]
    assert status_of(stored)[1] == "pending"
    [again] = take(payloads, number)
    assert (again.attempt, again.lease_id == one) == (2, False)
    assert pull_leases.give_back(source, [one]) == ["lost"], "somebody else may have it"
    assert pull_leases.give_back(source, [again.lease_id]) == ["done"]
    assert status_of(stored) == ("failed", "failed")
    assert delivery(stored).error == pull_leases.RETURNED
    assert len(delivery(stored).fingerprint) == 16
    assert [row.outcome for row in DeliveryAttempt.select().order_by(DeliveryAttempt.id)] == ["retry", "retry"]


def test_returned_with_a_delay_comes_after_it(pulled: Pulled, payloads: Payloads) -> None:
    number = subscribe()
    stored = pulled.put(number)
    pull_leases.give_back(pulls.find(number, "owner"), lease_ids(take(payloads, number)), delay_seconds=100)
    assert take(payloads, number) == []
    assert 95 < (delivery(stored).due_at - database_now()).total_seconds() <= 100


def test_a_lease_that_ran_out_is_lost_and_its_message_comes_again(pulled: Pulled, payloads: Payloads) -> None:
    number = subscribe(config='{"max_attempts": 2}')
    stored, kept = pulled.put(number), pulled.put(number)
    source, taken = pulls.find(number, "owner"), take(payloads, number)
    run_out(stored)
    lost, other = lease_ids(taken)
    assert pull_leases.acknowledge(source, [lost]) == ["lost"]
    assert pull_leases.extend(source, [lost], lease_seconds=60)[0] == ["lost"]
    assert pull_leases.release_expired() == 1
    assert pull_leases.release_expired() == 0
    assert status_of(kept) == ("processing", "processing")
    assert pull_leases.give_back(source, [lost]) == ["lost"]
    [again] = take(payloads, number)
    assert (again.message_id, again.attempt) == (stored, 2)
    run_out(stored)
    assert pull_leases.release_expired() == 1
    assert status_of(stored) == ("failed", "failed")
    assert delivery(stored).error == pull_leases.RAN_OUT
    assert pull_leases.acknowledge(source, [other]) == ["done"]


def test_an_extended_lease_lasts(pulled: Pulled, payloads: Payloads) -> None:
    number = subscribe()
    stored = pulled.put(number)
    [one] = lease_ids(take(payloads, number, lease=5))
    states, until = pull_leases.extend(pulls.find(number, "owner"), [one], lease_seconds=600)
    assert states == ["done"]
    assert delivery(stored).due_at == until
    assert (until - database_now()).total_seconds() > 590


def test_a_lease_is_of_one_subscription(pulled: Pulled, payloads: Payloads) -> None:
    mine, theirs = subscribe(), subscribe("other")
    pulled.put(mine)
    leased = lease_ids(take(payloads, mine))
    other = pulls.find(theirs, "other")
    assert pull_leases.acknowledge(other, leased) == ["lost"]
    assert pull_leases.give_back(other, leased) == ["lost"]
    [lease] = [leases.parse(text) for text in leased]
    assert lease is not None
    guessed = leases.Lease(lease.message_id, bytes(16)).text
    assert pull_leases.acknowledge(pulls.find(mine, "owner"), [guessed]) == ["lost"]


@pytest.mark.parametrize("text", ["", "x", "ä" * 43, "A" * 42, "A" * 44, "A" * 43 + "\n", "=" * 43, "A" * 5000])
def test_what_is_no_lease(text: str) -> None:
    assert leases.parse(text) is None


def test_workers_leave_the_leases_of_clients_alone(pulled: Pulled, payloads: Payloads) -> None:
    number = subscribe()
    stored = pulled.put(number)
    take(payloads, number)
    run_out(stored)
    assert rescue.rescue() == 0
    assert status_of(stored) == ("processing", "processing")


def test_one_that_does_not_open_is_a_dead_letter_and_holds_up_none(pulled: Pulled, payloads: Payloads) -> None:
    number = subscribe()
    damaged, good = pulled.put(number), pulled.put(number, "good")
    Message.update(payload=b"changed").where(Message.id == ids.parse(damaged)).execute()
    assert bodies(take(payloads, number)) == ["good"]
    assert status_of(damaged) == ("failed", "failed")
    assert status_of(good) == ("processing", "processing")


def test_in_order_a_key_has_one_message_at_a_time(pulled: Pulled, payloads: Payloads) -> None:
    number = subscribe(ordered_by="correlation_id")
    source = pulls.find(number, "owner")
    for body, key, priority in (
        ("a1", "a", "low"), ("a2", "a", "critical"), ("b1", "b", "normal"), ("free", None, "normal"), ("b2", "b", "normal"),
    ):  # fmt: skip
        pulled.put(number, body, key=key, priority=priority)
    taken = take(payloads, number)
    assert sorted(map(str, bodies(taken))) == ["a1", "b1", "free"]
    assert take(payloads, number) == []
    held = {one.body: one.lease_id for one in taken}
    pull_leases.acknowledge(source, [held["a1"]])
    assert bodies(take(payloads, number)) == ["a2"]
    pull_leases.give_back(source, [held["b1"]], delay_seconds=100)
    assert take(payloads, number) == [], "b2 waits for b1, which waits"


def test_behind_many_that_wait_for_their_key_others_are_found(
    pulled: Pulled, payloads: Payloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "LOOKED_AT", 3)
    number = subscribe(ordered_by="sender")
    for at in range(6):
        pulled.put(number, f"a{at}", key="a")
    assert bodies(take(payloads, number, limit=1)) == ["a0"]
    for body, key, priority in (("b0", "b", "low"), ("b1", "b", "low"), ("free", None, "low"), ("c0", "c", "normal")):
        pulled.put(number, body, key=key, priority=priority)
    pulled.put(number, "later", key="d", due_at=clock.now() + LONG_AGO)
    assert bodies(take(payloads, number, limit=10)) in (["c0", "b0", "free"], ["b0", "free"])
    rest = bodies(take(payloads, number, limit=10))
    assert rest in ([], ["c0"])
    assert take(payloads, number, limit=10) == []


def test_in_no_order_nothing_waits(pulled: Pulled, payloads: Payloads) -> None:
    number = subscribe()
    for body in ("a1", "a2"):
        pulled.put(number, body, key="a")
    assert len(take(payloads, number)) == 2


def test_what_is_paused_wakes_nobody(pulled: Pulled, monkeypatch: pytest.MonkeyPatch) -> None:
    number, other = subscribe(), subscribe()
    pulled.put(number, priority="low")
    pulled.put(other, priority="high")
    monkeypatch.setattr(steering, "paused", lambda: frozenset({"low"}))
    assert pulls.with_due([number, other]) == [other]
    monkeypatch.setattr(steering, "paused", lambda: frozenset(QUEUES))
    assert pulls.with_due([number, other]) == []


def test_one_that_cannot_be_read_keeps_no_other_from_its_messages(pulled: Pulled, payloads: Payloads) -> None:
    strange, number = subscribe(), subscribe()
    stored = [pulled.put(one) for one in (strange, number)]
    for one in (strange, number):
        take(payloads, one)
    run_out(*stored)
    Subscription.update(config='{"of": "a later version"}').where(Subscription.id == strange).execute()
    assert pull_leases.release_expired() == 1
    assert status_of(stored[1])[1] == "pending"


def test_what_has_something_due(pulled: Pulled) -> None:
    idle, busy, later = subscribe(), subscribe(), subscribe()
    for priority in ("critical", "low"):
        pulled.put(busy, priority=priority)
    pulled.put(later, due_at=clock.now() + LONG_AGO)
    assert pulls.with_due([idle, busy, later]) == [busy]
    assert pulls.with_due([idle, later]) == []
    assert pulls.with_due([]) == []


def in_threads(number: int, work: Any) -> None:
    """Each with a connection of its own; their errors are the test's."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with connected():
                work()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@of_servers
def test_two_takers_never_get_the_same(pulled: Pulled, payloads: Payloads) -> None:
    number, taken = subscribe(), Counter[str]()
    stored = {pulled.put(number, str(at)) for at in range(40)}
    lock = threading.Lock()

    def work() -> None:
        while found := take(payloads, number, limit=3):
            with lock:
                taken.update(one.message_id for one in found)

    in_threads(4, work)
    assert set(taken) == stored
    assert set(taken.values()) == {1}


@of_servers
def test_each_key_is_in_order_whoever_takes(pulled: Pulled, payloads: Payloads) -> None:
    """Several takers at the same time; what is under way of a key is never two messages, and they come in order."""
    number = subscribe(ordered_by="sender")
    source, lock = pulls.find(number, "owner"), threading.Lock()
    seen: dict[str, list[int]] = defaultdict(list)
    under_way: Counter[str] = Counter()
    at_once: list[int] = []
    for at in range(10):
        for key in "abc":
            pulled.put(number, f"{key}{at}", key=key)
    left = threading.Semaphore(30)

    def work() -> None:
        while left.acquire(blocking=False):
            while not (found := take(payloads, number, limit=1)):
                pass
            [one] = found
            assert one.body is not None
            with lock:
                under_way[one.body[0]] += 1
                at_once.append(under_way[one.body[0]])
                seen[one.body[0]].append(int(one.body[1:]))
                under_way[one.body[0]] -= 1
            assert pull_leases.acknowledge(source, [one.lease_id]) == ["done"]

    in_threads(3, work)
    assert dict(seen) == {key: list(range(10)) for key in "abc"}
    assert set(at_once) == {1}
    assert Delivery.select().where(Delivery.status != "delivered").count() == 0
