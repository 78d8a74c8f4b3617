"""Redis gone, hung, restarted, full: what the sender is told, and how soon."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.proxy import Proxy, problem
from support.servers import Redis

from messagebroker.settings import load

pytestmark = pytest.mark.tier("processes")  # seconds of real waiting

MESSAGE = {"body": "x"}


@pytest.fixture
def own() -> Iterator[Redis]:
    """A Redis that a test may kill."""
    with Redis(maxmemory="16mb") as server:
        yield server
        server.resume()


@pytest.fixture
def lone(tmp_path: Path, own: Redis) -> Iterator[Proxy]:
    made = Proxy(load({}, data_dir=tmp_path, environment="test", redis_url=own.url))
    made.parts.admission.look()
    yield made
    made.parts.committer.close()
    made.redis.close()


def timed(send: Any) -> tuple[Any, float]:
    began = time.monotonic()
    return send(), time.monotonic() - began


def test_redis_gone_is_a_503_soon_and_recovers_by_itself(lone: Proxy, own: Redis) -> None:
    assert lone.submit(MESSAGE, Idempotency_Key="k0").status_code == 202
    own.kill()
    for _ in range(2):
        answer, seconds = timed(lambda: lone.submit(MESSAGE, Idempotency_Key="k1"))
        assert problem(answer) == (503, "redis-unavailable", None)
        assert answer.json["outcome"] == "not-taken"
        assert answer.headers["retry-after"] == "1"
        assert seconds < 2
    own.start()
    assert lone.submit(MESSAGE, Idempotency_Key="k1").status_code == 202
    assert lone.submit(MESSAGE, Idempotency_Key="k0").headers["idempotency-replayed"] == "true"
    assert len(lone.queued()) == 2


def test_a_hung_redis_leaves_the_outcome_unknown(lone: Proxy, own: Redis) -> None:
    lone.submit(MESSAGE)
    own.pause()
    answer, seconds = timed(lambda: lone.submit(MESSAGE))
    assert problem(answer) == (503, "redis-unavailable", None)
    assert answer.json["outcome"] == "unknown"
    assert answer.headers["retry-after"] == "1"
    assert seconds < 2
    own.resume()


def test_unknown_and_sent_again_is_stored_under_one_key(lone: Proxy, own: Redis) -> None:
    lone.submit(MESSAGE)
    failing = Failing(lone)
    answer = lone.submit(MESSAGE, Idempotency_Key="k")
    assert (answer.status_code, answer.json["outcome"]) == (503, "unknown")
    failing.stop()
    again = lone.submit(MESSAGE, Idempotency_Key="k")
    assert again.status_code == 202
    assert len({record.idempotency_key for record in lone.queued()}) == 2
    assert len(lone.queued()) == 2  # the write whose answer was lost had been done: its answer is given now
    assert again.headers["idempotency-replayed"] == "true"


def test_everybody_who_waits_on_a_hung_redis_has_an_answer_within_two_seconds(lone: Proxy, own: Redis) -> None:
    lone.submit(MESSAGE)
    own.pause()
    outcomes: list[tuple[Any, float]] = []
    threads = []
    for _ in range(12):
        thread = threading.Thread(target=lambda: outcomes.append(timed(lambda: lone.submit(MESSAGE))))
        thread.start()
        threads.append(thread)
        time.sleep(0.05)
    for thread in threads:
        thread.join(20)
    assert [answer.status_code for answer, _ in outcomes] == [503] * 12
    assert max(seconds for _, seconds in outcomes) < 2
    own.resume()


def test_the_first_submit_after_redis_closed_an_idle_connection_is_a_202(lone: Proxy) -> None:
    lone.submit(MESSAGE)
    lone.redis.client_kill_filter(_type="normal", skipme=True)
    assert lone.submit(MESSAGE).status_code == 202
    assert len(lone.queued()) == 2


def test_redis_restarted_between_two_submits_is_not_noticed(lone: Proxy, own: Redis) -> None:
    lone.submit(MESSAGE)
    own.kill()
    own.start()
    assert lone.submit(MESSAGE).status_code == 202
    assert len(lone.queued()) == 2


def test_a_full_redis_refuses_before_the_workers_memory_is_used_up(lone: Proxy) -> None:
    answer = None
    for _ in range(100):
        answer = lone.batch([{"body": "x" * 1000}] * 500)
        lone.parts.admission.look()
        if answer.status_code != 202:
            break
    assert answer is not None
    assert problem(answer) == (503, "queue-full", None)
    assert answer.headers["retry-after"] == "5"
    assert answer.json["outcome"] == "not-taken"
    assert 0.8 <= lone.parts.admission.state.memory_used < 0.95
    assert lone.parts.admission.ready_problem() == "the queue is full"
    lone.redis.flushall()
    lone.parts.admission.look()
    assert lone.submit(MESSAGE).status_code == 202


def test_redis_at_its_limit_takes_all_of_a_request_or_nothing(lone: Proxy) -> None:
    """Between two looks of the admission, memory can run out."""
    lone.submit(MESSAGE)
    lone.redis.config_set("maxmemory", lone.redis.info("memory")["used_memory"] // 2)
    before = len(lone.queued())
    answers = [lone.submit(MESSAGE, Idempotency_Key="k0"), lone.submit(MESSAGE), lone.batch([MESSAGE] * 5)]
    assert [problem(answer)[:2] for answer in answers] == [(503, "queue-full")] * 3
    assert len(lone.queued()) == before
    lone.redis.config_set("maxmemory", "64mb")
    assert lone.submit(MESSAGE, Idempotency_Key="k0").status_code == 202


def test_a_redis_that_may_not_write_is_a_503(lone: Proxy, own: Redis) -> None:
    lone.submit(MESSAGE)
    lone.redis.replicaof("127.0.0.1", "1")
    assert problem(lone.submit(MESSAGE))[:2] == (503, "redis-unavailable")
    lone.redis.replicaof("no", "one")
    assert lone.submit(MESSAGE).status_code == 202


def test_a_spoilt_queue_is_reported_as_unknown_and_frees_the_key(lone: Proxy) -> None:
    lone.redis.set("messagebroker:high", "no list")
    batch = [{"body": "x", "priority": "high"}, {"body": "y", "priority": "low"}]
    answer = lone.batch(batch, Idempotency_Key="k")
    assert (problem(answer)[:2], answer.json["outcome"]) == ((503, "redis-unavailable"), "unknown")
    lone.redis.delete("messagebroker:high")
    assert lone.batch(batch, Idempotency_Key="k").status_code == 202


class Failing:
    """Lets writes go out and loses their answers."""

    def __init__(self, proxy: Proxy) -> None:
        self._wire = proxy.parts.committer._wire
        self._answer = self._wire._answer
        self._count = 0
        self._wire._answer = self._lost  # type: ignore[method-assign]

    def _lost(self, connection: Any) -> Any:
        answer = self._answer(connection)
        self._count += 1
        if self._count > 2:  # those of SET and GET, which claim the key, arrive
            raise ConnectionResetError
        return answer

    def stop(self) -> None:
        self._wire._answer = self._answer  # type: ignore[method-assign]
