from __future__ import annotations

from pathlib import Path

import pytest
import redis

from messagebroker.ops.redis_client import connect, redis_answers, unavailable
from messagebroker.settings import load


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"REDIS_URL": "redis://me:hunter2@queue.example.org:6380/3"}, "queue.example.org:6380"),
        ({"REDIS_HOST": "queue.example.org", "REDIS_PASSWORD": "hunter2"}, "queue.example.org:6379"),
        ({"REDIS_URL": "unix://me:hunter2@/run/redis.sock"}, "/run/redis.sock"),
    ],
)
def test_an_outage_is_told_with_the_place_and_the_next_step(variables: dict[str, str], place: str, tmp_path: Path) -> None:
    with connect(load(variables, data_dir=tmp_path)) as client:
        said = str(unavailable(client, redis.ConnectionError("refused."), ", so nothing was done"))
    assert said.startswith(f"Redis at {place} does not answer, so nothing was done: refused; start it")
    assert "REDIS_URL" in said
    assert "REDIS_HOST" in said
    assert "hunter2" not in said


def test_a_worker_says_the_same(tmp_path: Path) -> None:
    with connect(load({"REDIS_URL": "redis://127.0.0.1:1/0"}, data_dir=tmp_path)) as client:
        said = redis_answers(client)
    assert said is not None
    assert said.startswith("Redis at 127.0.0.1:1 does not answer: ")
