"""Group commit: what arrives during one write leaves together in the next."""

from __future__ import annotations

import gc
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from support.proxy import Proxy
from support.serving import eventually

from messagebroker.http.proxy import committer
from messagebroker.ops import ids
from messagebroker.ops.redis_client import DEPTH

MESSAGE = {"body": "x"}


def writes(proxy: Proxy) -> int:
    """How many EXECs Redis has run."""
    return int(proxy.redis.info("commandstats").get("cmdstat_exec", {"calls": 0})["calls"])


def at_once(proxy: Proxy, count: int, pause: int = 600) -> list[Any]:
    """The answers to so many requests that all wait on one slow write."""
    answers: list[Any] = []
    proxy.redis.client_pause(pause, all=False)  # only writes wait
    threads = [threading.Thread(target=lambda: answers.append(proxy.submit(MESSAGE))) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return answers


def test_requests_that_wait_leave_together(proxy: Proxy) -> None:
    proxy.submit(MESSAGE)
    before = writes(proxy)
    answers = at_once(proxy, 30)
    assert [answer.status_code for answer in answers] == [202] * 30
    assert len({answer.json["message_id"] for answer in answers}) == 30
    assert len(proxy.queued()) == 31
    assert int(proxy.redis.hget(DEPTH, "normal") or 0) == 31
    assert writes(proxy) - before <= 4


def test_a_group_has_a_limit(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "LARGEST_GROUP", 5)
    proxy.submit(MESSAGE)
    before = writes(proxy)
    assert [answer.status_code for answer in at_once(proxy, 30)] == [202] * 30
    assert writes(proxy) - before >= 6
    assert len(proxy.queued()) == 31


def test_a_request_over_the_limit_still_leaves_whole(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "LARGEST_GROUP", 5)
    before = writes(proxy)
    assert proxy.batch([MESSAGE] * 20).status_code == 202
    assert writes(proxy) - before == 1


def test_many_threads_and_many_requests_lose_nothing(proxy: Proxy) -> None:
    given: list[str] = []

    def send() -> None:
        for number in range(20):
            answer = proxy.submit(MESSAGE) if number % 3 else proxy.batch([MESSAGE] * 3)
            document = answer.json
            given.extend([document["message_id"]] if "message_id" in document else [i["message_id"] for i in document["items"]])

    threads = [threading.Thread(target=send) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(given) == len(set(given)) == 16 * (13 + 7 * 3)
    assert sorted(given) == sorted(ids.text(record.id) for record in proxy.queued())


def test_a_writer_that_is_up_before_its_turn_is_noted_writes_all_the_same(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = proxy.parts.committer._turns

    def put(turn: bool) -> None:
        turns.put(turn)
        time.sleep(0.05)  # the other thread runs now

    monkeypatch.setattr(proxy.parts.committer, "_turns", SimpleNamespace(put=put, get=turns.get))
    assert [proxy.submit(MESSAGE).status_code for _ in range(3)] == [202] * 3


def test_a_mistake_of_ours_wakes_everybody(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*_: Any) -> None:
        time.sleep(0.05)
        raise ZeroDivisionError

    monkeypatch.setattr(proxy.parts.committer, "_add_calls", mistaken)
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(proxy.submit(MESSAGE))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [answer.status_code for answer in answers] == [500] * 3
    monkeypatch.undo()
    assert proxy.submit(MESSAGE).status_code == 202


def no_memory(*_: Any) -> Any:
    raise MemoryError


@pytest.mark.parametrize("step", ["_next_group", "_write", "_gate.settle", "_wire.ask"])
def test_want_of_memory_ends_a_group_and_not_the_committing(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    *inner, name = step.split(".")
    owner = getattr(proxy.parts.committer, inner[0]) if inner else proxy.parts.committer
    with monkeypatch.context() as shortage:
        shortage.setattr(owner, name, no_memory)
        assert proxy.submit(MESSAGE, Idempotency_Key="k").status_code == 500
    assert proxy.queued() == []
    assert proxy.submit(MESSAGE, Idempotency_Key="k").status_code == 202


def test_want_of_memory_after_the_write_takes_nothing_back(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as shortage:
        shortage.setattr(proxy.parts.committer._gate, "release", no_memory)
        assert proxy.submit(MESSAGE).status_code == 202
    assert proxy.submit(MESSAGE).status_code == 202
    assert len(proxy.queued()) == 2


def test_nothing_is_called_taken_that_redis_has_not_acknowledged(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when there is no memory to say what went wrong."""
    with monkeypatch.context() as shortage:
        shortage.setattr(proxy.parts.committer, "_add_calls", no_memory)
        shortage.setattr(committer, "_fail", no_memory)
        shortage.setattr(committer, "log", None)
        answer = proxy.submit(MESSAGE)
    assert (answer.status_code, answer.json["outcome"]) == (503, "unknown")
    assert proxy.queued() == []
    assert proxy.submit(MESSAGE).status_code == 202


def test_an_answer_that_fails_costs_nobody_else_theirs(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = proxy.parts.committer.begin

    def begin_badly(submission: committer.Submission, tell: Any) -> None:
        begin(submission, lambda: tell() or no_memory())

    monkeypatch.setattr(committer, "log", None)  # nor can it be logged
    monkeypatch.setattr(proxy.parts.committer, "begin", begin_badly)
    assert [answer.status_code for answer in at_once(proxy, 3)] == [202] * 3
    assert proxy.submit(MESSAGE).status_code == 202


def test_an_answered_request_is_let_go_at_once(proxy: Proxy) -> None:
    """Bodies of megabytes must not wait for the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        assert proxy.submit({"body": "hello"}).status_code == 202
        assert eventually(lambda: not any(isinstance(found, committer.Submission) for found in gc.get_objects()))
    finally:
        gc.enable()
