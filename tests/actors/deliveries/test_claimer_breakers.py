"""What a worker claims while the breaker of a destination is not closed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peewee as pw
import pytest
from support.subscribing import Office, subscribe

from messagebroker.actors.deliveries.claimer import Claimer
from messagebroker.actors.deliveries.service import Deliveries
from messagebroker.actors.deliveries.writer import Ended
from messagebroker.db.models import Delivery
from messagebroker.db.writing import give_up_connection
from messagebroker.ops import clock
from messagebroker.ops.breakers import Breakers
from messagebroker.ops.channels.channel import Kind, Outcome
from messagebroker.ops.deliveries import claiming
from messagebroker.ops.deliveries.claimed import Claimed
from messagebroker.ops.due import database_now
from messagebroker.ops.redis_client import connect
from messagebroker.ops.store import store
from messagebroker.settings import Settings, load

pytestmark = pytest.mark.clocked


@pytest.fixture
def settings(database: pw.Database, tmp_path: Path, redis_url: str) -> Settings:
    return load(
        {}, data_dir=tmp_path, environment="test", redis_url=redis_url, breaker_failures=2, breaker_seconds=0.1,
        breaker_max_seconds=0.1,
    )  # fmt: skip


@pytest.fixture
def breakers(settings: Settings) -> Iterator[Breakers]:
    with connect(settings) as redis:
        made = Breakers(redis, settings)
        made.refresh()
        yield made
    give_up_connection()


class Desk:
    """Stands for the engine: has room, and keeps what it is given."""

    holder = b"m" * 16
    last_chances: frozenset[Any] = frozenset()

    def __init__(self) -> None:
        self.places = 100
        self.taken: list[int] = []

    def prepare(self, names: Any) -> None:
        pass

    def room(self, subscribed: Any, wanted: int, priority: int) -> int:
        return min(wanted, self.places)

    def give_back_late(self, known: Any) -> int:
        return 0

    def give_back(self, subscription_id: int, number: int = 1) -> None:
        pass

    def take_claimed(self, claimed: list[Claimed], known: Any, at: float) -> None:
        self.taken += [one.subscription_id for one in claimed]


class Worker:
    """A claimer that looks when it is told to."""

    def __init__(self, settings: Settings, breakers: Breakers) -> None:
        self.office, self.desk = Office(settings), Desk()
        desk: Any = self.desk
        self._claimer = Claimer(desk, self.office.subscriptions, breakers, frozenset)

    def store(self, count: int) -> None:
        records = [self.office.record(priority=at % 4) for at in range(count)]
        self.office.subscriptions.refresh(older_than=0)
        store(records, self.office.keys, now=database_now(), router=self.office.router)

    def look(self) -> list[int]:
        Delivery.update(due_at=database_now() - timedelta(seconds=1)).where(Delivery.status == "pending").execute()
        self.desk.taken = []
        self._claimer._round()
        return self.desk.taken


@pytest.fixture
def worker(settings: Settings, breakers: Breakers) -> Worker:
    return Worker(settings, breakers)


def lost(*_: Any, **__: Any) -> Any:
    raise pw.OperationalError("gone away")


def until_the_probe(breakers: Breakers, target: int) -> None:
    """Its pause is over, and this process has the probe."""
    time.sleep(0.13)
    assert breakers.blocked_until(target) == 0


def test_nothing_is_claimed_for_an_open_breaker_and_others_go_on(worker: Worker, breakers: Breakers) -> None:
    target, other = subscribe(["*"]), subscribe(["*"])
    breakers.record(target, 0, 2, "HTTP 503")
    worker.store(5)
    assert worker.look() == [other] * 5
    assert Delivery.select().where(Delivery.subscription_id == target, Delivery.status == "pending").count() == 5


def test_one_delivery_is_the_probe_and_all_others_follow_its_success(worker: Worker, breakers: Breakers) -> None:
    target = subscribe(["*"])
    breakers.record(target, 0, 2, "HTTP 503")
    worker.store(8)
    until_the_probe(breakers, target)
    assert worker.look() == [target], "one of four priorities' eight"
    assert worker.look() == []
    breakers.record(target, 1, 0)
    assert len(worker.look()) == 7


def test_a_probe_for_which_there_was_no_room_or_no_delivery_is_not_lost(
    worker: Worker, breakers: Breakers, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = subscribe(["*"])
    breakers.record(target, 0, 2, "HTTP 503")
    worker.store(2)
    until_the_probe(breakers, target)
    worker.desk.places = 0
    assert worker.look() == []
    worker.desk.places = 100
    with monkeypatch.context() as away:
        away.setattr(claiming, "claim", lost)
        assert worker.look() == []
    assert worker.look() == [target]


def test_a_probe_that_asked_nothing_of_its_destination_is_made_again(worker: Worker, breakers: Breakers) -> None:
    """As when its message does not open."""
    target = subscribe(["*"])
    worker.store(2)
    breakers.record(target, 0, 2, "503")
    until_the_probe(breakers, target)
    breakers.refresh()
    assert worker.look() == [target]
    assert worker.look() == []
    ended(worker, breakers, target, Outcome(kind="failed", error="it does not open"))
    assert worker.look() == [target]


def ended(worker: Worker, breakers: Breakers, target: int, outcome: Outcome) -> None:
    item: Any = SimpleNamespace(subscribed=worker.office.subscriptions.current[target], priority=1)
    deliveries: Any = Deliveries.__new__(Deliveries)
    deliveries.breakers = breakers
    deliveries._ended([Ended(item, outcome, clock.now(), 1)])


@pytest.mark.parametrize(
    ("outcomes", "opens"),
    [
        ([("retry", 503), ("retry", None)], True),
        ([("retry", 503), ("failed", 400), ("retry", 503)], False),  # who says no is there
        ([("retry", 503), ("failed", None), ("retry", 503)], True),  # nobody was asked
        ([("retry", 503), ("delivered", None), ("retry", 503)], False),
    ],
)
def test_what_attempts_say_of_their_destination(
    settings: Settings, breakers: Breakers, outcomes: list[tuple[Kind, int | None]], opens: bool
) -> None:
    target = subscribe(["*"])
    worker = Worker(settings, breakers)
    worker.office.subscriptions.refresh(older_than=0)
    for kind, code in outcomes:
        ended(worker, breakers, target, Outcome(kind=kind, code=code, error="x"))
    assert breakers.is_closed(target) != opens
