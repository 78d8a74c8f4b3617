from __future__ import annotations

import os
import time
from datetime import datetime, timedelta

import peewee as pw
import pytest
from structlog.testing import capture_logs

from messagebroker.db.connection import connected
from messagebroker.db.models import Heartbeat
from messagebroker.errors import Unavailable
from messagebroker.ops import clock, heartbeats
from messagebroker.ops.heartbeats import Alive, Heart

pytestmark = pytest.mark.usefixtures("database")


def rows() -> list[Heartbeat]:
    with connected():
        return list(Heartbeat.select().order_by(Heartbeat.started_at))


def test_a_row_from_start_to_stop() -> None:
    heart = Heart("main")
    heart.start()
    [row] = rows()
    assert (row.role, row.pid) == ("main", os.getpid())
    heart.stop()
    assert rows() == []


def test_it_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "BEAT_SECONDS", 0.02)
    heart = Heart("main")
    heart.start()
    first = rows()[0].seen_at
    deadline = clock.now() + timedelta(seconds=10)
    while rows()[0].seen_at == first and clock.now() < deadline:
        pass
    assert rows()[0].seen_at > first
    heart.stop()


def test_a_row_that_was_lost_comes_back_and_those_of_dead_processes_go() -> None:
    heart = Heart("worker")
    heart.beat()
    with connected():
        Heartbeat.update(instance="dead", seen_at=clock.now() - timedelta(days=2)).execute()
    heart.beat()
    assert [row.instance for row in rows()] == [heart.instance]


def test_a_beat_tells_what_the_process_does() -> None:
    heart, told = Heart("worker"), iter([{"threads": 2}, {"threads": 3}])
    heart.details = lambda: next(told)
    heart.beat()
    assert rows()[0].details == '{"threads": 2}'
    heart.beat()
    assert rows()[0].details == '{"threads": 3}'


def test_an_outage_is_logged_and_waited_out(database: pw.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    heart = Heart("main")

    def away() -> None:
        raise Unavailable("the database does not answer")

    with capture_logs() as logs:
        heart._try(away)
    assert "does not answer" in logs[0]["error"]
    heart._try(heart.beat)
    assert len(rows()) == 1


def test_who_beats_is_counted_and_who_was_killed_is_not() -> None:
    hearts = [Heart("worker"), Heart("worker"), Heart("scheduler"), Heart("scheduler")]
    for heart in hearts:
        heart.beat()
    now = clock.now()
    with connected():
        Heartbeat.update(seen_at=now - timedelta(minutes=1)).where(Heartbeat.instance == hearts[0].instance).execute()
        Heartbeat.update(leading_until=now + timedelta(minutes=1)).where(Heartbeat.instance == hearts[2].instance).execute()
        Heartbeat.update(leading_until=now - timedelta(minutes=1)).where(Heartbeat.instance == hearts[3].instance).execute()
    assert heartbeats.alive() == {"worker": Alive(1, 0), "scheduler": Alive(2, 1)}


def test_a_machine_whose_clock_is_wrong_does_not_seem_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    right = clock.now()
    monkeypatch.setattr(clock, "now", lambda: right - timedelta(hours=1))
    Heart("worker").beat()
    assert heartbeats.alive() == {"worker": Alive(1, 0)}


def test_who_is_not_seen_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as others see no fresh row, they take back what this process holds."""
    heart, now = Heart("worker"), [1000.0]
    monkeypatch.setattr(heartbeats.time, "monotonic", lambda: now[0])
    assert not heart.is_seen(), "its first beat may fail"
    heart.beat()
    now[0] += heartbeats.BEAT_SECONDS * 2
    assert heart.is_seen()
    now[0] += heartbeats.BEAT_SECONDS * 2
    assert not heart.is_seen()
    heart.beat()
    assert heart.is_seen()


def test_a_beat_that_took_long_is_as_old_as_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    heart, now, clocks = Heart("worker"), [1000.0], heartbeats.inspection.clock

    def slow() -> datetime:
        found = clocks()
        now[0] += 16
        return found

    monkeypatch.setattr(heartbeats.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(heartbeats.inspection, "clock", slow)
    heart.beat()
    assert not heart.is_seen()


def test_beats_that_fail_come_sooner_and_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "OUTAGE_SECONDS", 0.02)
    heart, fails = Heart("worker"), [True] * 3
    beat = heart.beat

    def at_last() -> None:
        if fails and fails.pop():
            raise Unavailable("the database does not answer")
        beat()

    monkeypatch.setattr(heart, "beat", at_last)
    with capture_logs() as logs:
        heart.start()
        deadline = time.monotonic() + heartbeats.BEAT_SECONDS - 1
        while not heart.is_seen():
            assert time.monotonic() < deadline, "it waited as between beats that succeed"
            time.sleep(0.01)
    heart.stop()
    assert [entry["event"] for entry in logs] == ["no heartbeat"]


def test_after_an_outage_nobody_is_called_gone_until_all_have_had_time_to_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    heart, now = Heart("worker"), [1000.0]
    monkeypatch.setattr(heartbeats.time, "monotonic", lambda: now[0])
    assert not heart.is_steady(), "it has not reached the database yet"
    heart._try(heart.beat)
    assert heart.is_steady()

    def away() -> None:
        raise Unavailable("the database does not answer")

    heart._try(away)
    assert not heart.is_steady()
    for _ in range(15):
        now[0] += heartbeats.BEAT_SECONDS
        heart._try(heart.beat)
        assert not heart.is_steady()
    now[0] += heartbeats.BEAT_SECONDS
    heart._try(heart.beat)
    assert heart.is_steady()
    now[0] += 60  # it hung in a statement
    assert not heart.is_steady()
    heart._try(heart.beat)
    assert not heart.is_steady()
