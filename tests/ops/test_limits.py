from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import redis as redis_py

from messagebroker.ops import limits
from messagebroker.ops.limits import Limiter, Shared
from messagebroker.ops.redis_client import connect
from messagebroker.settings import load


@pytest.fixture
def redis(redis_url: str) -> Iterator[redis_py.Redis]:
    with connect(load({}, environment="test", redis_url=redis_url)) as client:
        yield client


@pytest.fixture
def nowhere() -> Iterator[redis_py.Redis]:
    with connect(load({}, environment="test", redis_port=1)) as client:
        yield client


def let_in(limiter: Limiter, key: str, number: int) -> int:
    return sum(not limiter.charge(key).refused for _ in range(number))


def test_several_processes_count_together(redis: redis_py.Redis) -> None:
    first, second = (Limiter(Shared(redis), kind="user", rate=10) for _ in range(2))
    assert 10 <= let_in(first, "ada", 8) + let_in(second, "ada", 8) <= 12
    refused = second.charge("ada")
    assert refused.refused
    assert 0 < refused.wait <= 1
    assert refused.headers == {"RateLimit-Policy": '"user";q=10;w=1', "RateLimit": '"user";r=0;t=1'}
    assert not first.charge("bob").refused
    time.sleep(refused.wait + 0.05)
    assert not first.charge("ada").refused


def test_without_redis_a_process_counts_by_itself(nowhere: redis_py.Redis) -> None:
    limiter = Limiter(Shared(nowhere), kind="user", rate=10)
    assert 10 <= let_in(limiter, "ada", 40) <= 12
    refused = limiter.charge("ada")
    assert 0 < refused.wait <= 1
    time.sleep(refused.wait + 0.05)
    assert not limiter.charge("ada").refused


def test_a_redis_that_answers_nothing_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging:
        asked = 0

        def execute_command(self, *command: object) -> int:
            self.asked += 1
            raise redis_py.TimeoutError("timed out")

    hanging = Hanging()
    shared = Shared(hanging)  # type: ignore[arg-type]
    for _ in range(50):
        assert shared.run("PING") is None
    assert hanging.asked == 1
    monkeypatch.setattr(limits, "PAUSE_SECONDS", -1.0)
    shared._away_until = 0.0
    shared.run("PING")
    assert hanging.asked == 2


@pytest.mark.clocked
def test_it_is_asked_again_when_it_is_back(redis: redis_py.Redis) -> None:
    shared = Shared(redis)
    shared._away_until = time.monotonic() + 0.1
    assert shared.run("PING") is None
    time.sleep(0.15)
    assert shared.run("PING") is True


def test_many_strangers_do_not_fill_the_memory(nowhere: redis_py.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MAX_KEYS", 100)
    limiter = Limiter(Shared(nowhere), kind="address", rate=5)
    for number in range(1000):
        limiter.charge(str(number))
    assert len(limiter._due) == 100


def test_threads_do_not_get_more(redis: redis_py.Redis) -> None:
    limiter, got = Limiter(Shared(redis), kind="user", rate=20), []
    threads = [threading.Thread(target=lambda: got.append(let_in(limiter, "ada", 20))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert 20 <= sum(got) <= 26
