from __future__ import annotations

import pytest
from support.cast import Cast, assert_problem

from messagebroker.http.main import app as main_app
from messagebroker.ops.redis_client import DEPTH, connect
from messagebroker.settings import load

PATH = "/api/v1/queue/stats"


def test_depth_in_messages(cast: Cast, redis_url: str) -> None:
    redis = connect(load({}, data_dir=cast.settings.data_dir, environment="test", redis_url=redis_url))
    redis.hset(DEPTH, "high", 500)
    cast.http.app = main_app.make(cast.settings, watcher=cast.watcher, redis=redis)
    queues = {queue.pop("queue"): queue for queue in cast.get(PATH, "operator").json["queues"]}
    redis.close()
    assert list(queues) == ["critical", "high", "normal", "low", "ops"]
    assert queues["high"] == {"messages": 500, "calls": 0, "running": 0, "oldest_seconds": 0, "dead_letters": 0}


def test_without_redis_it_is_a_503(cast: Cast) -> None:
    answer = cast.get(PATH, "operator")
    assert_problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"]


@pytest.mark.parametrize("role", ["user", "user_manager"])
def test_who_may_not(cast: Cast, role: str) -> None:
    assert_problem(cast.get(PATH, role), 403, "forbidden")
