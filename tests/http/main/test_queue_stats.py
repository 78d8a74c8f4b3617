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
    answer = cast.get(PATH, "operator").json
    queues = {queue.pop("queue"): queue for queue in answer["queues"]}
    redis.close()
    assert list(queues) == ["critical", "high", "normal", "low", "ops"]
    assert queues["high"] == {
        "waiting": 500, "running": 0, "delayed": 0, "failed": 0, "stuck": 0, "oldest_seconds": 0, "in_per_second": 0,
        "stored_per_second": 0, "delivered_per_second": 0, "workers": 0, "paused": None,
        "messages": 500, "calls": 0, "dead_letters": 0,
    }  # fmt: skip
    assert [channel["channel"] for channel in answer["channels"]] == ["webhook", "email", "inbox", "pull"]


def test_without_redis_it_is_a_503(cast: Cast) -> None:
    answer = cast.get(PATH, "operator")
    assert_problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"]


@pytest.mark.parametrize("role", ["user", "user_manager"])
def test_who_may_not(cast: Cast, role: str) -> None:
    assert_problem(cast.get(PATH, role), 403, "forbidden")
