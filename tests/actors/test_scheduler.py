from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dramatiq
import peewee as pw
import pytest
import redis as redis_py
from periodiq import cron

from messagebroker.actors.broker import Broker
from messagebroker.actors.scheduler import Scheduler, next_run
from messagebroker.db.models import Heartbeat, PeriodicJob
from messagebroker.ops.due import database_now
from messagebroker.ops.heartbeats import Heart

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("spec", "zone", "after", "expected"),
    [
        ("0 2 * * *", "UTC", "2026-03-01T01:59:59+00:00", "2026-03-01T02:00+00:00"),
        ("0 2 * * *", "UTC", "2026-03-01T02:00:00+00:00", "2026-03-02T02:00+00:00"),
        ("*/15 * * * *", "UTC", "2026-12-31T23:50:00+00:00", "2027-01-01T00:00+00:00"),
        ("30 4 1 * *", "UTC", "2026-01-31T12:00:00+00:00", "2026-02-01T04:30+00:00"),
        ("0 2 * * *", "Europe/Berlin", "2026-01-10T12:00:00+00:00", "2026-01-11T01:00+00:00"),
        ("0 2 * * *", "Europe/Berlin", "2026-07-10T12:00:00+00:00", "2026-07-11T00:00+00:00"),
        # spring: 02:30 does not exist on 29 March 2026; it comes an hour later on the clock
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00+00:00", "2026-03-29T01:30+00:00"),
        # autumn: 02:30 comes twice on 25 October 2026; the first one counts
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00+00:00", "2026-10-25T00:30+00:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00+00:00", "2026-10-26T01:30+00:00"),
    ],
)
def test_the_next_run_is_what_wall_clocks_say(spec: str, zone: str, after: str, expected: str) -> None:
    found = next_run(cron(spec), datetime.fromisoformat(after), zone=ZoneInfo(zone))
    assert found == datetime.fromisoformat(expected)


def test_runs_only_go_forward_through_a_year_of_clock_changes() -> None:
    moment = datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC"))
    count = 0
    while moment.year == 2026:
        following = next_run(cron("30 2 * * *"), moment, zone=BERLIN)
        assert timedelta(hours=22) < following - moment < timedelta(hours=26) or count == 0
        moment, count = following, count + 1
    assert count == 366  # the last one is in 2027


@pytest.fixture
def heart(sqlite: pw.Database) -> Heart:
    made = Heart("scheduler")
    made.beat()
    return made


@pytest.fixture
def job(broker: Broker) -> Any:
    options: dict[str, Any] = {"periodic": cron("0 2 * * *"), "broker": broker, "queue_name": "ops"}
    yield dramatiq.actor(actor_name="job", **options)(lambda: None)
    del broker.actors["job"]


def make_due() -> None:
    PeriodicJob.update(due_at=database_now().replace(second=0, microsecond=0) - timedelta(days=2)).execute()


def calls(client: redis_py.Redis) -> int:
    return int(client.llen("messagebroker:ops"))  # type: ignore[arg-type]


def test_a_missed_job_is_sent_once_also_after_a_restart(job: Any, heart: Heart, client: redis_py.Redis) -> None:
    scheduler = Scheduler([job], BERLIN, heart.instance)
    scheduler.round()
    assert calls(client) == 0
    make_due()
    for _ in range(3):
        scheduler.round()
    Scheduler([job], BERLIN, heart.instance).round()
    assert calls(client) == 1


def test_only_the_leader_sends(job: Any, heart: Heart, client: redis_py.Redis) -> None:
    other = Heart("scheduler")
    other.beat()
    leader, follower = (Scheduler([job], BERLIN, one.instance) for one in (heart, other))
    leader.round()
    make_due()
    follower.round()
    assert calls(client) == 0
    leader.round()
    assert calls(client) == 1


def test_a_crash_between_sending_and_the_commit_sends_nothing_twice(
    job: Any, heart: Heart, client: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler([job], BERLIN, heart.instance)
    scheduler.round()
    make_due()
    real: Callable[..., Any] = job.send_with_options

    def sends_and_dies(**options: Any) -> None:
        real(**options)
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "send_with_options", sends_and_dies, raising=False)
    with pytest.raises(KeyboardInterrupt):
        scheduler.round()
    monkeypatch.undo()
    Scheduler([job], BERLIN, heart.instance).round()
    assert calls(client) == 1
    found: Any = PeriodicJob.get()
    assert found.last_sent_at is not None


def test_without_redis_a_job_stays_due(job: Any, heart: Heart, client: redis_py.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = Scheduler([job], BERLIN, heart.instance)
    scheduler.round()
    make_due()
    with monkeypatch.context() as patch:
        patch.setattr(Broker, "enqueue", _no_redis)
        scheduler.round()
    assert calls(client) == 0
    scheduler.round()
    assert calls(client) == 1


def _no_redis(*_: object, **__: object) -> None:
    raise redis_py.ConnectionError("gone")


def test_a_leader_that_lost_its_row_stops_leading(job: Any, heart: Heart, client: redis_py.Redis) -> None:
    scheduler = Scheduler([job], BERLIN, heart.instance)
    scheduler.round()
    make_due()
    Heartbeat.delete().execute()
    scheduler._lease_at = float("-inf")  # five seconds later
    scheduler.round()
    assert calls(client) == 0
