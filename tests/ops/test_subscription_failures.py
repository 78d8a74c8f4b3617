from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import peewee as pw
import pytest
from support.cast import audited
from support.plans import statements

from messagebroker.db import inspection
from messagebroker.db.connection import connected
from messagebroker.db.connection import database as bound
from messagebroker.db.models import Subscription, SubscriptionNotice, User
from messagebroker.db.writing import give_up_connection, writing
from messagebroker.errors import BrokerError, Refused
from messagebroker.ops import clock, subscription_failures, subscription_notices
from messagebroker.ops.metrics import SUBSCRIPTION_WARNINGS, SUBSCRIPTIONS_DISABLED
from messagebroker.ops.subscription_failures import Attempts, Limits, attempted
from messagebroker.ops.subscription_notices import NoticeMails
from messagebroker.settings import Settings, load

HOURS = 24


@pytest.fixture(autouse=True)
def _limits(database: pw.Database) -> Iterator[None]:
    subscription_failures.setup(load({}, environment="test", subscription_disable_after=10))
    yield
    subscription_failures.setup(load({}, environment="test"))
    give_up_connection()


def subscription(**changes: Any) -> int:
    now = clock.now()
    row = {
        "name": "orders",
        "channel": "webhook",
        "topics": "[]",
        "config": "{}",
        "created_at": now,
        "changed_at": now,
        **changes,
    }
    return int(Subscription.insert(**row).execute())


def ended(number: int, **attempts: Any) -> Any:
    with writing():
        attempted({number: Attempts(**attempts)})
    return row(number)


def row(number: int) -> Any:
    with connected():
        return Subscription.get_by_id(number)


def failing_for(number: int, hours: float) -> None:
    with connected():
        since = inspection.clock() - timedelta(hours=hours)
        Subscription.update(failing_since=since).where(Subscription.id == number).execute()


def actions() -> list[tuple[str, int | None]]:
    found = audited("subscription.failing") + audited("subscription.disable")
    return [(one.action, json.loads(one.details).get("stage")) for one in found]


def test_failures_in_a_row_are_counted_and_a_success_ends_the_row() -> None:
    number = subscription()
    assert ended(number, failed=2, error="HTTP 503").failures == 2
    found = ended(number, failed=1)
    assert found.failures == 3
    assert abs(found.failing_since - clock.now()) < timedelta(minutes=1)
    found = ended(number, ok=1, failed=5)
    assert (found.failures, found.failing_since) == (0, None)


def test_successes_write_nothing_where_nothing_failed_and_one_statement_for_all() -> None:
    numbers = [subscription() for _ in range(5)]
    ended(numbers[0], failed=1)
    before = {number: row(number).changed_at for number in numbers}
    for expected in (["SELECT", "UPDATE"], ["SELECT"]):
        with connected(), statements() as sent:
            attempted({number: Attempts(ok=3) for number in numbers})
        assert [sql.split()[0] for sql, _ in sent] == expected
    assert [row(number).failures for number in numbers] == [0] * 5
    assert {number: row(number).changed_at for number in numbers} == before


@pytest.mark.parametrize("database", ["mariadb", "mysql"], indirect=True)
def test_a_success_waits_for_nobody_and_writes_no_row(database: pw.Database) -> None:
    held, other = subscription(), subscription()
    with connected():
        before = written()
        attempted({held: Attempts(ok=1), other: Attempts(ok=1)})
        assert written() == before
    with writing():
        bound.execute_sql("UPDATE subscriptions SET name = 'held' WHERE id = %s", (held,))
        in_another_thread(held)


def in_another_thread(number: int) -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with writing():
                bound.execute_sql("SET SESSION innodb_lock_wait_timeout = 1")
                attempted({number: Attempts(ok=1)})
        except (BrokerError, pw.PeeweeException) as error:
            failed.append(error)
        finally:
            give_up_connection()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert failed == []


def written() -> int:
    [(_, value)] = bound.execute_sql("SHOW SESSION STATUS LIKE 'Handler_update'").fetchall()
    return int(value)


@pytest.mark.parametrize("database", ["mariadb", "mysql"], indirect=True)
def test_two_workers_count_every_failure(database: pw.Database) -> None:
    number = subscription()
    subscription_failures.setup(load({}, environment="test", subscription_disable_after=10_000))

    def work() -> None:
        for _ in range(25):
            ended(number, failed=1)
        give_up_connection()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert row(number).failures == 100


def test_the_stages_need_attempts_and_time() -> None:
    limits = Limits(attempts=10)
    day = timedelta(hours=HOURS)
    assert limits.stage(1_000, timedelta(minutes=5)) == 0, "busy for five minutes"
    assert limits.stage(2, day * 9) == 0, "tried twice in nine days"
    assert [limits.stage(failures, day) for failures in (4, 5, 6, 7, 8, 9, 10, 99)] == [0, 50, 50, 70, 70, 90, 100, 100]
    assert [limits.stage(99, day * part) for part in (0.4, 0.5, 0.7, 0.9, 0.99, 1)] == [0, 50, 70, 90, 90, 100]


def test_each_stage_is_told_once_and_the_last_one_disables() -> None:
    number = subscription()
    stages_before = {stage: SUBSCRIPTION_WARNINGS.labels(str(stage))._value.get() for stage in subscription_failures.STAGES}
    for failures in range(1, 13):
        ended(number, failed=1, error="HTTP 503\nUnavailable")
        failing_for(number, HOURS if failures >= 4 else 0.1)
    expected = [("subscription.failing", stage) for stage in (50, 70, 90)] + [("subscription.disable", None)]
    assert actions() == expected
    found = row(number)
    assert found.warned == 100
    assert "10 failed attempts in a row since" in found.disabled_why
    assert found.disabled_why.endswith("the last error: HTTP 503 Unavailable")
    assert found.changed_at <= found.disabled_at + timedelta(seconds=1)
    assert [one.kind for one in SubscriptionNotice.select().order_by(SubscriptionNotice.id)] == ["failing"] * 3 + ["disabled"]
    told = {stage: SUBSCRIPTION_WARNINGS.labels(str(stage))._value.get() for stage in subscription_failures.STAGES}
    assert {stage: told[stage] - before for stage, before in stages_before.items()} == dict.fromkeys((50, 70, 90, 100), 1)


def test_a_stage_that_was_passed_over_is_not_told_afterwards() -> None:
    number = subscription()
    ended(number, failed=9, error="x")
    failing_for(number, HOURS)
    ended(number, failed=0)
    ended(number, failed=1)
    assert actions() == [("subscription.disable", None)]


def test_a_success_begins_the_stages_anew() -> None:
    number = subscription()
    for _ in range(2):
        ended(number, failed=6)
        failing_for(number, HOURS)
        ended(number, failed=1)
        assert row(number).warned == 70
        assert ended(number, ok=1).warned == 0
    assert actions() == [("subscription.failing", 70)] * 2


def test_gone_disables_at_once() -> None:
    number = subscription()
    before = SUBSCRIPTIONS_DISABLED.labels("gone")._value.get()
    found = ended(number, ok=3, failed=1, error="HTTP 410", gone=True)
    assert found.disabled_at is not None
    assert "gone" in found.disabled_why
    assert (found.warned, actions()) == (100, [("subscription.disable", None)])
    ended(number, failed=1, error="HTTP 410", gone=True)
    assert len(actions()) == 1
    assert SUBSCRIPTIONS_DISABLED.labels("gone")._value.get() == before + 1


def test_the_callers_transaction_decides() -> None:
    number = subscription()
    with writing() as _, bound.atomic() as transaction:
        attempted({number: Attempts(failed=1, gone=True)})
        transaction.rollback()
    assert (row(number).failures, row(number).disabled_at, actions()) == (0, None, [])
    assert SubscriptionNotice.select().count() == 0


def test_what_is_not_there_any_more_is_passed_over() -> None:
    number = subscription(removed_at=clock.now())
    ended(number, failed=50, gone=True)
    with writing():
        attempted({number + 1: Attempts(failed=1, gone=True), number + 2: Attempts(ok=1)})
    assert actions() == []


class Mails(list[tuple[str, str, str]]):
    broken: str | None = None

    def __call__(self, settings: Settings, to: str, subject: str, text: str) -> None:
        if self.broken in (to, "refused"):
            raise Refused("no") if self.broken == "refused" else OSError("gone")
        self.append((to, subject, text))


def person(email: str, role: str = "user", **more: Any) -> None:
    User.insert(email=email, role=role, password_hash="x", created_at=clock.now(), **more).execute()


def due_again() -> None:
    claimed = SubscriptionNotice.mail_due_at.is_null(False)
    SubscriptionNotice.update(mail_due_at=inspection.clock() - timedelta(seconds=1)).where(claimed).execute()


def test_the_owner_is_mailed_once_whoever_asks_how_often() -> None:
    person("ada@example.org")
    person("root@example.org", "admin")
    for owner in ("ada@example.org", "nobody@example.org", None):
        ended(subscription(owner=owner), failed=1, error="HTTP 410", gone=True)
    mails = Mails()
    mains = [NoticeMails(load({}, environment="test"), mails) for _ in range(2)]
    for _ in range(2):
        for main in mains:
            main.round()
        due_again()
    assert [to for to, _, _ in mails] == ["ada@example.org", "root@example.org", "root@example.org"]
    subject, text = mails[0][1:]
    assert subject == "Message Broker: subscription 1 is disabled"
    assert "(orders)" in text
    assert "HTTP 410" in text


def test_a_mail_that_could_not_be_sent_is_sent_later_and_once() -> None:
    for name in ("one", "two"):
        person(f"{name}@example.org", "admin")
    ended(subscription(), failed=1, gone=True)
    mails = Mails()
    mails.broken = "one@example.org"
    main = NoticeMails(load({}, environment="test"), mails)
    main.round()
    main.round()
    assert [to for to, _, _ in mails] == ["two@example.org"]
    mails.broken = None
    for _ in range(3):
        due_again()
        main.round()
    assert sorted(to for to, _, _ in mails) == ["one@example.org", "two@example.org"]


def test_what_is_no_news_any_more_is_not_mailed() -> None:
    person("root@example.org", "admin")
    ended(subscription(), failed=1, gone=True)
    SubscriptionNotice.update(created_at=inspection.clock() - subscription_notices.TOO_OLD).execute()
    mails = Mails()
    NoticeMails(load({}, environment="test"), mails).round()
    assert mails == []
    assert SubscriptionNotice.select().where(SubscriptionNotice.mail_due_at.is_null(False)).count() == 0


def test_who_the_mail_server_will_not_have_is_not_tried_for_ever() -> None:
    person("root@example.org", "admin")
    ended(subscription(), failed=1, gone=True)
    mails = Mails()
    mails.broken = "refused"
    main = NoticeMails(load({}, environment="test"), mails)
    main.round()
    assert SubscriptionNotice.get().mail_due_at is None


def test_without_a_mail_server_nothing_is_sent_or_lost() -> None:
    ended(subscription(), failed=1, gone=True)
    NoticeMails(load({}, environment="test")).round()
    assert SubscriptionNotice.get().mail_due_at is not None
