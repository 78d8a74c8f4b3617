from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from messagebroker.db.models import Heartbeat, PeriodicJob
from messagebroker.db.writing import give_up_connection
from messagebroker.ops.due import database_now
from messagebroker.ops.leading import LEASE, lead
from messagebroker.ops.timetable import send_if_due

pytestmark = pytest.mark.usefixtures("database")


class Sent(list[datetime]):
    def __call__(self, due_at: datetime) -> None:
        self.append(due_at)


def tomorrow(after: datetime) -> datetime:
    return after.replace(microsecond=0) + timedelta(days=1)


def midnight(after: datetime) -> datetime:
    return after.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def make_due(name: str = "backup", **ago: float) -> None:
    PeriodicJob.update(due_at=database_now().replace(microsecond=0) - timedelta(**ago)).where(
        PeriodicJob.name == name
    ).execute()


def test_a_new_job_waits_for_its_time() -> None:
    sent = Sent()
    assert not send_if_due("backup", midnight, sent)
    assert not send_if_due("backup", midnight, sent)
    job: Any = PeriodicJob.get()
    assert (sent, job.name, job.last_sent_at) == ([], "backup", None)
    assert job.due_at == midnight(database_now())


def test_a_job_that_was_missed_for_days_is_sent_once() -> None:
    sent = Sent()
    send_if_due("backup", midnight, sent)
    make_due(days=3)
    assert send_if_due("backup", midnight, sent)
    assert not send_if_due("backup", midnight, sent), "a restart sends nothing again"
    assert len(sent) == 1
    job: Any = PeriodicJob.get()
    assert job.due_at == midnight(database_now())
    assert abs(job.last_sent_at - database_now()) < timedelta(seconds=5)


def test_a_job_that_cannot_be_sent_stays_due() -> None:
    def fail(_: datetime) -> None:
        raise ConnectionError

    send_if_due("backup", midnight, fail)
    make_due(minutes=1)
    with pytest.raises(ConnectionError):
        send_if_due("backup", midnight, fail)
    sent = Sent()
    assert send_if_due("backup", midnight, sent)


def test_a_changed_schedule_counts_at_once() -> None:
    send_if_due("backup", midnight, Sent())
    soon = database_now().replace(microsecond=0) + timedelta(hours=1)
    send_if_due("backup", lambda _: soon, Sent())
    job: Any = PeriodicJob.get()
    assert job.due_at == soon


def test_many_schedulers_send_a_job_once() -> None:
    sent = Sent()
    send_if_due("backup", midnight, sent)
    make_due(hours=1)

    def look() -> None:
        try:
            for _ in range(3):
                send_if_due("backup", midnight, sent)
        finally:
            give_up_connection()

    threads = [threading.Thread(target=look) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(sent) == 1


def beat(instance: str, **columns: object) -> None:
    now = database_now()
    Heartbeat.insert(
        instance=instance, role="scheduler", host="h", pid=1, started_at=now, seen_at=now, **columns
    ).execute()  # fmt: skip


def test_one_leads_until_its_lease_ends() -> None:
    beat("a")
    beat("b")
    assert lead("scheduler", "a")
    assert not lead("scheduler", "b")
    assert lead("scheduler", "a"), "renewed"
    Heartbeat.update(leading_until=database_now() - timedelta(seconds=1)).where(Heartbeat.instance == "a").execute()
    assert lead("scheduler", "b")
    assert not lead("scheduler", "a")
    until: Any = Heartbeat.get(Heartbeat.instance == "b").leading_until
    assert timedelta() < until - database_now() <= LEASE


def test_who_left_leads_no_more_and_who_has_no_row_cannot_lead() -> None:
    beat("a")
    assert lead("scheduler", "a")
    Heartbeat.delete().execute()
    beat("b")
    assert not lead("scheduler", "a")
    assert lead("scheduler", "b")


def test_of_many_that_ask_at_once_one_leads() -> None:
    names = [f"s{number}" for number in range(6)]
    for name in names:
        beat(name)
    led: list[str] = []

    def ask(name: str) -> None:
        try:
            if lead("scheduler", name):
                led.append(name)
        finally:
            give_up_connection()

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(led) == 1


def test_times_are_aware() -> None:
    assert database_now().tzinfo is UTC
