from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from messagebroker.ops import database_clock
from messagebroker.ops.database_clock import DatabaseClock
from messagebroker.ops.deliveries.routing import LEASE_SECONDS


class Clocks:
    """The database's and this process' own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.theirs, self.own = datetime(2026, 3, 1, tzinfo=UTC), 1000.0
        self.takes = 0.0  # seconds for which the database's answer is on its way
        monkeypatch.setattr(database_clock.time, "monotonic", lambda: self.own)
        monkeypatch.setattr(database_clock, "database_now", self.asked)

    def asked(self) -> datetime:
        said = self.theirs
        self.go(self.takes)
        return said

    def go(self, seconds: float) -> None:
        self.own += seconds
        self.theirs += timedelta(seconds=seconds)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def test_a_leap_is_borne_in_mind_for_as_long_as_a_lease(clocks: Clocks) -> None:
    known = DatabaseClock()
    assert not known.has_leapt()
    clocks.go(5)
    assert not known.has_leapt()
    clocks.theirs += timedelta(seconds=12)
    clocks.go(5)
    assert known.has_leapt()
    clocks.go(LEASE_SECONDS - 1)
    assert known.has_leapt()
    clocks.go(2)
    assert not known.has_leapt()


@pytest.mark.parametrize("seconds", [4, -3600])
def test_what_heartbeats_bear_and_what_makes_nothing_look_old_is_no_leap(clocks: Clocks, seconds: float) -> None:
    known = DatabaseClock()
    known.has_leapt()
    clocks.theirs += timedelta(seconds=seconds)
    clocks.go(5)
    assert not known.has_leapt()


@pytest.mark.parametrize("slow", [0, 1])
def test_a_slow_answer_is_no_leap(clocks: Clocks, slow: int) -> None:
    known = DatabaseClock()
    for number in range(4):
        clocks.takes = 30.0 if number % 2 == slow else 0.0
        assert not known.has_leapt()
        clocks.go(5)


def test_a_process_that_slept_takes_it_for_one(clocks: Clocks) -> None:
    """As a virtual machine that was suspended: its own clock stood still."""
    known = DatabaseClock()
    known.has_leapt()
    clocks.theirs += timedelta(hours=1)
    assert known.has_leapt()
