"""The usual schedule: when each try is made."""

from __future__ import annotations

import random

import peewee as pw
import pytest
from support.subscribing import Office, subscribe

from messagebroker.ops.channels.channel import Outcome
from messagebroker.ops.deliveries.ending import pause_after
from messagebroker.settings import Settings

SECOND, MINUTE, HOUR = 1, 60, 3600
USUAL = (0, 5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR)
LATER = Outcome(kind="retry", code=503, error="it said 503")


@pytest.fixture
def schedule(database: pw.Database, settings: Settings) -> tuple[float, ...]:
    """Of a subscription that names none."""
    office, number = Office(settings), subscribe()
    office.subscriptions.refresh(older_than=0)
    return office.subscriptions.current[number].schedule


def test_without_another_one_the_usual_schedule_is_followed_to_a_fifth(schedule: tuple[float, ...]) -> None:
    assert schedule == USUAL
    for attempts, usual in enumerate(USUAL[1:], 1):
        pauses = [pause_after(attempts, schedule, LATER) or 0 for _ in range(300)]
        assert usual * 0.8 <= min(pauses) < usual * 0.85, "up to a fifth shorter"
        assert usual * 1.15 < max(pauses) <= usual * 1.2, "up to a fifth longer"
    assert pause_after(len(USUAL), schedule, LATER) is None, "a dead letter after eight tries"


@pytest.mark.parametrize(("factor", "share"), [("low", 0.8), ("high", 1.2)])
def test_the_bounds_of_the_jitter(
    schedule: tuple[float, ...], monkeypatch: pytest.MonkeyPatch, factor: str, share: float
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: {"low": low, "high": high}[factor])
    for attempts, usual in enumerate(USUAL[1:], 1):
        assert pause_after(attempts, schedule, LATER) == pytest.approx(usual * share)
