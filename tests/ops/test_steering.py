"""What operators set, as running processes see it: the tables decide."""

from __future__ import annotations

import peewee as pw
import pytest
from support.cast import TEST

from messagebroker.db.models import AuditEntry, QueueControl
from messagebroker.errors import NotFound, Refused
from messagebroker.ops import concurrency, pausing, steering
from messagebroker.ops.concurrency import DELIVERIES, THREADS
from messagebroker.ops.queues import QUEUES

pytestmark = pytest.mark.usefixtures("database")


def actions() -> list[str]:
    return [row.action for row in AuditEntry.select().order_by(AuditEntry.id)]


def test_a_pause_is_seen_at_the_next_look_and_leaves_rows_in_the_log() -> None:
    first = pausing.pause("low", "the warehouse moves", TEST)
    assert (first.queue, first.paused_by, first.reason) == ("low", "cli:test", "the warehouse moves")
    assert steering.paused() == frozenset(), "nobody has looked"
    steering.refresh()
    assert steering.paused() == {"low"}
    assert pausing.pause("low", "another reason", TEST) == first, "who paused it first is kept"
    assert pausing.resume("low", TEST)
    assert not pausing.resume("low", TEST)
    steering.refresh()
    assert steering.paused() == frozenset()
    assert actions() == ["queue.pause", "queue.resume"]


def test_what_is_no_queue_is_said() -> None:
    for act in (lambda: pausing.pause("lowest", "", TEST), lambda: pausing.resume("lowest", TEST)):
        with pytest.raises(NotFound, match="critical, high, normal, low, ops"):
            act()


def test_everything_rests_until_the_first_look() -> None:
    steering.hold()
    assert steering.paused() == set(QUEUES)
    steering.refresh()
    assert steering.paused() == frozenset()


def test_a_look_that_fails_changes_nothing(database: pw.Database) -> None:
    pausing.pause("high", "", TEST)
    steering.refresh()
    QueueControl.drop_table()
    with pytest.raises(pw.PeeweeException):
        steering.refresh()
    assert steering.paused() == {"high"}
    QueueControl.create_table()


def test_numbers_are_set_and_returned_to_the_settings() -> None:
    found = concurrency.scale({THREADS: 5, DELIVERIES: 300}, TEST)
    assert {name: one.value for name, one in found.items()} == {THREADS: 5, DELIVERIES: 300}
    steering.refresh()
    assert (steering.number(THREADS, 2), steering.number(DELIVERIES, 1000)) == (5, 300)
    concurrency.scale({THREADS: 5}, TEST)  # as it is: no row in the log
    assert set(concurrency.scale({THREADS: None}, TEST)) == {DELIVERIES}
    steering.refresh()
    assert steering.number(THREADS, 2) == 2
    assert actions() == ["workers.scale"] * 2


@pytest.mark.parametrize("numbers", [{THREADS: 0}, {THREADS: 65}, {DELIVERIES: 5001}, {"worker_count": 2}])
def test_numbers_that_will_not_do_are_refused(numbers: dict[str, int | None]) -> None:
    with pytest.raises(Refused):
        concurrency.scale(numbers, TEST)
    assert concurrency.overrides() == {}
