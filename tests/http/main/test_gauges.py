from __future__ import annotations

from datetime import timedelta

import pytest
from support.cast import TEST, Cast
from support.plans import statements
from support.queued import put
from support.subscribing import Office, subscribe

from messagebroker.db.models import Certificate, Delivery, Subscription
from messagebroker.errors import Unavailable
from messagebroker.http.main import app as main_app
from messagebroker.ops import clock, heartbeats, pausing
from messagebroker.ops.due import database_now
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


def test_states_of_queues_are_told_once_they_are_counted(online: Cast) -> None:
    pausing.pause("low", "", TEST)
    lines = scraped(online)
    assert 'messagebroker_queue_state_messages{queue="low",state="waiting"} 0.0' in lines
    assert 'messagebroker_channel_deliveries{channel="email",state="waiting"} 0.0' in lines
    assert 'messagebroker_queue_paused{queue="low"} 1.0' in lines
    assert 'messagebroker_queue_paused{queue="high"} 0.0' in lines
    assert 'messagebroker_queue_messages_per_second{direction="in",queue="high"} 0.0' in lines
    with statements() as sent:
        scraped(online)
    assert not [sql for sql, _ in sent if "FROM deliveries" in sql], "a scrape counts nothing that was counted just now"


def value(lines: list[str], sample: str) -> float:
    [found] = [line.rpartition(" ")[2] for line in lines if line.rpartition(" ")[0] == f"messagebroker_{sample}"]
    return float(found)


def test_a_delivery_that_waits_shows_though_redis_is_empty(online: Cast) -> None:
    subscribe()
    put(Office(online.settings))
    Delivery.update(due_at=database_now() - timedelta(seconds=500)).execute()
    lines = scraped(online)
    assert value(lines, 'queue_oldest_seconds{queue="normal"}') == 0
    for name in ("queue_state_oldest_seconds", "queue_ready_seconds"):
        assert 500 <= value(lines, f'{name}{{queue="normal"}}') < 520
        assert value(lines, f'{name}{{queue="low"}}') == 0, "an alarm needs a 0, not silence"


@pytest.mark.parametrize("held_by", ["breaker", "client", "pause"])
def test_what_workers_may_not_take_is_old_and_no_alarm(online: Cast, held_by: str) -> None:
    number = subscribe(**{"channel": "pull", "client": "acme"} if held_by == "client" else {})
    put(Office(online.settings))
    Delivery.update(due_at=database_now() - timedelta(seconds=500)).execute()
    if held_by == "breaker":
        Subscription.update(breaker="open").where(Subscription.id == number).execute()
    elif held_by == "pause":
        pausing.pause("normal", "", TEST)
    lines = scraped(online)
    assert value(lines, 'queue_state_oldest_seconds{queue="normal"}') >= 500
    assert value(lines, 'queue_ready_seconds{queue="normal"}') == 0


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
