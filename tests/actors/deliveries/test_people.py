"""E-mails and inboxes through the engine of a worker, on a real table and a real mail server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import peewee as pw
import pytest
from support.closed_breakers import ClosedBreakers
from support.mail import MailServer
from support.subscribing import Office, subscribe

from messagebroker.actors.deliveries.claimer import Claimer
from messagebroker.actors.deliveries.engine import Engine
from messagebroker.db.models import Delivery, InboxItem, Message, User
from messagebroker.ops import channels, clock
from messagebroker.ops.deliveries.routing import Router
from messagebroker.ops.due import database_now
from messagebroker.ops.store import store
from messagebroker.settings import Settings

pytestmark = [pytest.mark.clocked, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[MailServer]:
    with MailServer(tmp_path) as server:
        yield server


class Worker:
    """Its deliveries, by e-mail and to inboxes."""

    def __init__(self, settings: Settings, mail: MailServer) -> None:
        smtp = {"smtp_host": "localhost", "smtp_port": mail.port, "smtp_security": "none", "mail_from": "broker@example.org"}
        settings = settings.model_copy(update=smtp)
        self.office = Office(settings)
        breakers: Any = ClosedBreakers()
        self.engine = Engine(settings, self.office.payloads, b"m" * 16, may_try=lambda *_: True, ended=lambda _: None)
        self.claimer = Claimer(self.engine, self.office.subscriptions, breakers, frozenset)
        self.router = Router(self.office.subscriptions, self.office.payloads, self.engine)

    def put(self, *bodies: str) -> None:
        self.office.subscriptions.refresh(older_than=0)
        store([self.office.record(body) for body in bodies], self.office.keys, now=database_now(), router=self.router)


@pytest.fixture
def worker(database: pw.Database, settings: Settings, mail: MailServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    mine = {name: one if name in ("email", "inbox") else replace(one, place=None) for name, one in channels.CHANNELS.items()}
    monkeypatch.setattr("messagebroker.actors.deliveries.engine.CHANNELS", mine)
    made = Worker(settings, mail)
    made.engine.start()
    made.claimer.start()
    try:
        yield made
    finally:
        made.claimer.stop()
        made.engine.stop(1)


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def statuses() -> list[str]:
    return sorted(row.status for row in Delivery.select())


def come_due() -> None:
    Delivery.update(due_at=database_now()).where(Delivery.status == "pending").execute()


def test_a_message_reaches_a_mailbox_and_an_inbox(worker: Worker, mail: MailServer) -> None:
    User.create(email="ann@example.org", role="user", password_hash="x", created_at=clock.now())
    subscribe(channel="email", config={"to": ["ada@example.org"]})
    subscribe(channel="inbox")
    worker.put("hello")
    until(lambda: statuses() == ["delivered", "delivered"])
    until(lambda: Message.get().status == "delivered")
    assert "hello" in mail.messages[0].get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert InboxItem.select().count() == 1


def test_a_digest_waits_for_its_moment_and_stays_together(worker: Worker, mail: MailServer) -> None:
    subscribe(channel="email", config={"to": ["ada@example.org"], "digest_minutes": 60}, schedule=[0, 300, 300])
    worker.put("one", "two")
    worker.put("three")
    [due] = {row.due_at for row in Delivery.select()}
    assert (due.minute, due.second, due.microsecond) == (0, 0, 0)
    assert timedelta() < due - clock.now() <= timedelta(hours=1)
    mail.refuse = "451 later"
    come_due()
    until(lambda: {row.attempts for row in Delivery.select()} == {1})
    assert len({row.due_at for row in Delivery.select()}) == 1, "they are tried again at the same moment"
    mail.refuse = None
    come_due()
    until(lambda: statuses() == ["delivered"] * 3)
    [sent] = mail.messages
    assert sent["Subject"].startswith("3 messages")


def test_what_the_server_refuses_is_a_dead_letter(worker: Worker, mail: MailServer) -> None:
    mail.refused["ada@example.org"] = "550 no such user"
    subscribe(channel="email", config={"to": ["ada@example.org"]})
    subscribe(channel="inbox")  # of somebody who is not there
    worker.put("hello")
    until(lambda: statuses() == ["failed", "failed"])
    errors = sorted(str(row.error) for row in Delivery.select())
    assert errors[0] == "the mail server refuses ada@example.org: 550 no such user"
    assert errors[1].startswith("there is no user ann@example.org any more")
    until(lambda: Message.get().status == "failed")
