from __future__ import annotations

import pytest

from messagebroker.ops import throttle
from messagebroker.ops.throttle import Throttle


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(throttle.time, "monotonic", lambda: now[0])
    return now


def test_so_many_failures_in_so_long_then_a_pause(clock: list[float]) -> None:
    guard = Throttle(failures=3, seconds=60)
    for second in range(3):
        assert guard.wait_seconds("a") == 0
        guard.failed("a")
        clock[0] += second + 1
    assert guard.wait_seconds("a") == 54
    assert guard.wait_seconds("b") == 0
    clock[0] += 54
    assert guard.wait_seconds("a") == 0, "the oldest failure is out of the window"
    guard.failed("a")
    assert guard.wait_seconds("a") > 0


def test_success_forgets(clock: list[float]) -> None:
    guard = Throttle(failures=1, seconds=60)
    guard.failed("a")
    guard.succeeded("a")
    assert guard.wait_seconds("a") == 0


def test_a_flood_of_keys_does_not_fill_the_memory(clock: list[float]) -> None:
    guard = Throttle(failures=1, seconds=60)
    for number in range(throttle._MAX_KEYS + 500):
        guard.failed(str(number))
    assert len(guard._seen) == throttle._MAX_KEYS
    assert guard.wait_seconds(str(throttle._MAX_KEYS + 499)) == 60
