"""A client's rate, shared by all proxies through Redis."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.proxy import Proxy, problem

MESSAGE = {"body": "x"}


def test_a_client_over_its_rate_is_told_when_to_come_back(proxy: Proxy) -> None:
    assert proxy.batch([MESSAGE] * 15, client="slow").status_code == 202  # 1.5 seconds' worth: half a second is owed
    answer = proxy.submit(MESSAGE, client="slow")
    assert problem(answer) == (429, "rate-limited", None)
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["ratelimit-policy"] == '"client";q=10;w=1'
    assert answer.headers["ratelimit"] == '"client";r=0;t=1'
    assert len(proxy.queued()) == 15
    time.sleep(0.7)
    assert proxy.submit(MESSAGE, client="slow").status_code == 202


def test_the_answer_tells_what_is_left(proxy: Proxy) -> None:
    answer = proxy.batch([MESSAGE] * 4, client="slow")
    assert answer.headers["ratelimit"] == '"client";r=6;t=1'


def test_others_are_not_held_up(proxy: Proxy) -> None:
    proxy.batch([MESSAGE] * 50, client="slow")
    answer = proxy.submit(MESSAGE, client="acme")
    assert answer.status_code == 202
    assert "ratelimit" not in answer.headers


def test_a_request_over_the_rate_frees_its_key(proxy: Proxy) -> None:
    proxy.batch([MESSAGE] * 15, client="slow")
    assert proxy.submit(MESSAGE, client="slow", Idempotency_Key="k").status_code == 429
    time.sleep(0.7)
    assert proxy.submit(MESSAGE, client="slow", Idempotency_Key="k").status_code == 202


@pytest.mark.clocked
def test_the_rate_is_held_over_time(proxy: Proxy) -> None:
    began = time.monotonic()
    taken = 0
    while time.monotonic() - began < 1.0:
        taken += proxy.submit(MESSAGE, client="slow").status_code == 202
        time.sleep(0.01)
    assert 15 <= taken <= 23  # a second's worth at once, and a second's worth over the second


def test_nothing_of_the_count_stays(proxy: Proxy, tmp_path: Path) -> None:
    proxy.submit(MESSAGE, client="slow")
    assert 0 < proxy.redis.pttl("messagebroker:rate:slow") <= 2000
