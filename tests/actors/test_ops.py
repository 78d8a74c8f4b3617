from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dramatiq
import pytest
from support.installed import Installed, forget_written_keys
from support.mail import MailServer

from messagebroker.actors import ops as jobs
from messagebroker.actors.broker import broker, setup_broker
from messagebroker.actors.stopping import Requeue
from messagebroker.db import schema
from messagebroker.db.connection import open_database
from messagebroker.db.models import AuditEntry, BreakerEvent, PeriodicJob, SubscriptionNotice
from messagebroker.errors import Refused, Unavailable
from messagebroker.ops import backup, clock, metrics, password_resets, queues, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.redis_client import connect
from messagebroker.settings import load

pytestmark = pytest.mark.clocked


@pytest.fixture
def installed(tmp_path: Path, redis_url: str) -> Iterator[Installed]:
    open_database(load({}, data_dir=tmp_path, environment="test"))
    schema.upgrade()
    forget_written_keys()
    made = Installed(tmp_path, redis_url=redis_url, backup_schedule="15 4 * * *", cleanup_schedule="0 5 * * 0")
    for name in ("backup", "cleanup"):
        PeriodicJob.insert(name=name, due_at=clock.now()).execute()
    setup_broker(made.settings)
    jobs.setup(made.settings)
    yield made
    broker.stopping.clear()
    broker.close()


def test_the_schedules_are_those_of_the_settings(installed: Installed) -> None:
    assert str(jobs.backup.options["periodic"]) == "15 4 * * *"
    assert str(jobs.cleanup.options["periodic"]) == "0 5 * * 0"
    assert jobs.backup.queue_name == jobs.cleanup.queue_name == "ops"


def test_a_worker_on_the_queue_makes_a_backup_and_cleans_up(installed: Installed) -> None:
    import time

    for age, text in ((91, "old"), (0, "of today")):
        at = clock.now() - timedelta(days=age)
        BreakerEvent.insert(subscription_id=1, created_at=at, state="open", why=text).execute()
        SubscriptionNotice.insert(subscription_id=1, created_at=at, kind="failing", text=text).execute()
    worker = dramatiq.Worker(broker, queues={"ops"}, worker_threads=1)
    worker.start()
    try:
        jobs.backup.send()
        jobs.cleanup.send()
        deadline = time.monotonic() + 20
        while PeriodicJob.select().where(PeriodicJob.last_finished_at.is_null()).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        worker.stop()
    made = backup.list_all(installed.settings)
    assert len(made) == 1
    results = {row.name: row.last_result for row in PeriodicJob.select()}
    assert results["backup"].startswith(made[0].path.name)
    assert results["cleanup"] == "removed 0 messages, 0 data keys"
    assert [row.why for row in BreakerEvent.select()] == ["of today"]
    assert [row.text for row in SubscriptionNotice.select()] == ["of today"]
    assert AuditEntry.get().action == "backup.create"
    assert metrics.REGISTRY.get_sample_value("messagebroker_backup_last_success_timestamp_seconds") == pytest.approx(
        time.time(), abs=30
    )
    assert {depth.queue: depth.calls for depth in queues.depths(broker.client)}["ops"] == 0


def test_what_may_pass_is_tried_again_and_what_cannot_is_not(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_PAUSES", (0.0, 0.0))
    tries: list[Exception] = []

    def fails(*_: object) -> Path:
        tries.append(Unavailable("the database is away") if len(tries) < 3 else Refused("never"))
        raise tries[-1]

    monkeypatch.setattr(backup, "create", fails)
    jobs.backup()
    assert len(tries) == 3
    assert PeriodicJob.get_by_id("backup").last_result == "failed: the database is away"
    jobs.backup()
    assert len(tries) == 4
    assert PeriodicJob.get_by_id("backup").last_result == "failed: never"


def test_an_unexpected_error_is_kept_and_raised(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "create", fails)
    with pytest.raises(OSError, match="No space"):
        jobs.backup()
    assert "No space left" in PeriodicJob.get_by_id("backup").last_result


def test_a_backup_that_is_cut_off_by_a_stop_goes_back_to_the_queue(installed: Installed) -> None:
    broker.stopping.set()
    with pytest.raises(Requeue):
        jobs.backup()
    assert backup.list_all(installed.settings) == []
    assert list(installed.settings.path(installed.settings.backup_dir).iterdir()) == []
    assert PeriodicJob.get_by_id("backup").last_result is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Requiring AUTH:UserWarning")
def test_a_worker_on_the_queue_mails_codes_that_were_never_in_redis(
    installed: Installed, tmp_path: Path, redis_url: str
) -> None:
    import re
    import time

    users.create("ada@example.org", "user", password="a long enough one 1", actor=Actor(name="cli:test"))
    with MailServer(tmp_path) as server:
        mail = server.settings(tmp_path)
        names = ("smtp_host", "smtp_port", "smtp_security", "mail_from")
        jobs.setup(installed.settings.model_copy(update={name: getattr(mail, name) for name in names}))
        jobs.mail_password_reset.send("nobody@example.org", None, None)
        jobs.mail_password_reset.send("ada@example.org", "192.0.2.7", "Lynx")
        with connect(installed.settings) as redis:
            waiting = b"".join(b"".join(redis.hgetall(key).values()) for key in redis.keys("*.msgs"))
        assert b"ada@example.org" in waiting
        worker = dramatiq.Worker(broker, queues={"ops"}, worker_threads=1)
        worker.start()
        try:
            deadline = time.monotonic() + 20
            while not server.taken and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            worker.stop()
    [message] = server.messages
    assert message["To"] == "ada@example.org"
    code = re.search(r"^ {4}(\S+)\s*$", message.get_content(), re.MULTILINE)
    assert code
    assert code[1].encode() not in waiting
    assert password_resets.reset(code[1], "quite another one 2").email == "ada@example.org"
