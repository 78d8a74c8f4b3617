from __future__ import annotations

from datetime import timedelta

import pytest
from support.cast import Cast

from messagebroker.db.models import Certificate
from messagebroker.errors import Unavailable
from messagebroker.http.main import app as main_app
from messagebroker.ops import clock, heartbeats
from messagebroker.ops.heartbeats import Heart
from messagebroker.ops.redis_client import DEPTH, connect
from messagebroker.settings import load


def scraped(cast: Cast) -> list[str]:
    answer = cast.get("/metrics", address="127.0.0.1")
    assert answer.status_code == 200
    return str(answer.text).splitlines()


def test_roles_without_a_port_are_counted_by_main(cast: Cast) -> None:
    Heart("scheduler").beat()
    lines = scraped(cast)
    assert 'messagebroker_role_processes{role="scheduler"} 1.0' in lines
    assert 'messagebroker_role_processes{role="worker"} 0.0' in lines, "an alarm needs a 0, not silence"
    assert 'messagebroker_role_leaders{role="scheduler"} 0.0' in lines


def test_certificates_that_end_soon_are_told(cast: Cast) -> None:
    now = clock.now()
    for serial, name, days in (("1", "proxy", 10), ("2", "portal", 100), ("3", "worker", 10)):  # worker: of an earlier release
        row = {"serial": serial, "name": name, "kind": "component", "pem": "x", "not_before": now}
        Certificate.insert(**row, not_after=now + timedelta(days=days)).execute()
    [line] = [line for line in scraped(cast) if line.startswith("messagebroker_certificate_expires_seconds")]
    name, value = line.rsplit(" ", 1)
    assert name == 'messagebroker_certificate_expires_seconds{kind="component",name="proxy"}'
    assert 9.9 * 86_400 < float(value) <= 10 * 86_400


def test_queues_are_told_also_when_no_worker_runs(cast: Cast, redis_url: str) -> None:
    redis = connect(load({}, data_dir=cast.settings.data_dir, environment="test", redis_url=redis_url))
    redis.hset(DEPTH, "high", 500)
    cast.http.app = main_app.make(cast.settings, watcher=cast.watcher, redis=redis)
    lines = scraped(cast)
    redis.close()
    assert 'messagebroker_queue_messages{queue="high"} 500.0' in lines
    assert 'messagebroker_queue_oldest_seconds{queue="high"} 0.0' in lines


def test_without_a_database_there_are_metrics_and_no_old_counts(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    scraped(cast)

    def away() -> None:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(heartbeats, "alive", away)
    assert not [line for line in scraped(cast) if line.startswith("messagebroker_role_processes{")]


def test_sessions_are_counted(cast: Cast) -> None:
    assert "messagebroker_sessions_active 0.0" in scraped(cast)
    cast.token("user")
    cast.token("user")
    assert "messagebroker_sessions_active 2.0" in scraped(cast)
