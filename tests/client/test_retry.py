from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from messagebroker.client import NEVER, Retry
from messagebroker.client.retry import parse_retry_after


def test_pauses_grow_and_are_spread() -> None:
    retry = Retry(attempts=8, first_pause=1, longest_pause=10, give_up_after=1000)
    rounds = []
    for _ in range(50):
        tries = retry.begin()
        rounds.append([tries.pause() for _ in range(8)])
    for pauses in rounds:
        assert pauses[-1] is None
        for pause, full in zip(pauses, (1, 2, 4, 8, 10, 10, 10), strict=False):
            assert pause is not None
            assert full * 0.5 <= pause <= full
    assert len({pauses[0] for pauses in rounds}) > 40


def test_a_retry_after_is_a_minimum() -> None:
    assert all(3.0 <= (Retry(first_pause=0.2).begin().pause(3.0) or 0) <= 3.2 for _ in range(50))


def test_patience_ends() -> None:
    assert NEVER.begin().pause() is None
    assert Retry(give_up_after=5).begin().pause(6.0) is None


@pytest.mark.parametrize(
    ("text", "seconds"), [(None, None), ("7", 7.0), (" 0 ", 0.0), ("soon", None), ("-3", None), ("", None)]
)
def test_retry_after_in_seconds(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text) == seconds


def test_retry_after_as_a_date() -> None:
    soon = parse_retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True))
    assert soon is not None
    assert 27 <= soon <= 30
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
