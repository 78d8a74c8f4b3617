"""Bounces: an e-mail that was taken and did not arrive makes its delivery a dead letter, once, and nobody can forge that."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any

import peewee as pw
import pytest
from support.bounces import GROUP, Sent, notification
from support.cast import audited
from support.works import target, work

from messagebroker.db.connection import connected
from messagebroker.db.models import Delivery, Message, Subscription
from messagebroker.ops import bounces, keyring
from messagebroker.ops.audit import Actor
from messagebroker.ops.channels.email_config import EmailConfig
from messagebroker.ops.channels.email_message import Composer
from messagebroker.settings import Settings, load

MTA = Actor(name="cli:postfix")


@pytest.fixture
def home(tmp_path: Any, database: pw.Database) -> Iterator[Settings]:
    settings = load({}, data_dir=tmp_path, environment="test", mail_from="broker@example.org")
    keyring.create_master_key(settings)
    with connected():
        yield settings


def take_in(settings: Settings, raw: bytes) -> list[str]:
    return list(bounces.record(bounces.read(raw, settings), MTA).values())


@pytest.mark.parametrize("kind", ["message/rfc822", "text/rfc822-headers", "message/rfc822-headers"])
def test_a_delivered_one_becomes_a_dead_letter(home: Settings, kind: str) -> None:
    sent = Sent(home)
    assert take_in(home, notification(sent.mail, kind=kind)) == ["failed"]
    row = sent.delivery
    said = "bounced for ada@example.org: 550 5.1.1 <ada@example.org>: Recipient address rejected: User unknown"
    assert (row.status, row.error, row.due_at, row.attempts) == ("failed", said, None, 2)
    assert row.fingerprint is not None
    [attempt] = sent.attempts
    assert (attempt.number, attempt.outcome, attempt.code, attempt.error) == (2, "failed", 550, said)
    assert Message.get_by_id(sent.ids[0]).status == "failed"
    assert Subscription.get_by_id(sent.subscription).failures == 1
    [entry] = audited("delivery.bounce")
    assert (entry.actor, entry.object_id) == ("cli:postfix", sent.messages[0])


def test_the_same_one_again_changes_nothing(home: Settings) -> None:
    sent = Sent(home)
    raw = notification(sent.mail)
    assert [take_in(home, raw) for _ in range(3)] == [["failed"], ["known"], ["known"]]
    assert len(sent.attempts) == 1
    # retried by an operator, and it seems to have worked: an old notification is no new bounce, a new one is
    Delivery.update(status="delivered", attempts=3).execute()
    assert take_in(home, raw) == ["known"]
    assert sent.delivery.status == "delivered"
    assert take_in(home, notification(sent.mail, told_by="2")) == ["failed"]


def test_each_recipient_is_in_the_history(home: Settings) -> None:
    sent = Sent(home)
    more = GROUP.format(recipient="bob@example.org", action="failed", diagnostic="552 mailbox full")
    assert take_in(home, notification(sent.mail, more=more)) == ["failed"]
    assert [(one.code, str(one.error)[:27]) for one in sent.attempts] == [
        (550, "bounced for ada@example.org"), (552, "bounced for bob@example.org"),
    ]  # fmt: skip
    assert "ada" in str(sent.delivery.error)


def test_a_digest_bounces_with_all_that_it_brought(home: Settings) -> None:
    sent = Sent(home, 30)
    other = Sent(home)
    assert take_in(home, notification(sent.mail)) == ["failed"] * 30
    assert {row.status for row in Delivery.select().where(Delivery.subscription_id == sent.subscription)} == {"failed"}
    assert other.delivery.status == "delivered"


@pytest.mark.parametrize("status", ["pending", "processing", "failed", "expired", "cancelled"])
def test_what_is_not_delivered_stays_what_it_is(home: Settings, status: str) -> None:
    sent = Sent(home, status=status)
    assert take_in(home, notification(sent.mail)) == ["noted"]
    assert sent.delivery.status == Message.get_by_id(sent.ids[0]).status == status
    assert len(sent.attempts) == 1


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded", ""])
def test_what_is_no_failure_is_ignored(home: Settings, action: str) -> None:
    sent = Sent(home)
    assert take_in(home, notification(sent.mail, action=action)) == []
    assert sent.delivery.status == "delivered"


def test_nobody_forges_one(home: Settings, tmp_path: Any) -> None:
    sent, other = Sent(home), Sent(home)
    guess = sent.mail.replace(sent.ids[0].hex().encode(), other.ids[0].hex().encode())
    stranger = load({}, data_dir=tmp_path / "stranger", environment="test", mail_from="broker@example.org")
    keyring.create_master_key(stranger)
    to = target(EmailConfig(to=["ada@example.org"]), id=sent.subscription)
    theirs = Composer(stranger).compose([work(to, message_id=sent.ids[0])]).as_bytes()
    for mail in (guess, theirs, b"Message-ID: <x@y>\r\n\r\nhello"):
        assert take_in(home, notification(mail)) == []
    assert {row.status for row in Delivery.select()} == {"delivered"}


def test_whatever_else_comes_is_ignored(home: Settings) -> None:
    sent = Sent(home)
    whole = notification(sent.mail)
    vacation = b"From: ada@example.org\r\nIn-Reply-To: <x@y>\r\nSubject: away\r\n\r\nI am away.\r\n" + sent.mail
    assert [
        take_in(home, raw) for raw in (vacation, sent.mail, b"", os.urandom(2000), b"Content-Type: message/rfc822\n\n")
    ] == [[]] * 5
    chance = random.Random(7)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 20)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        bounces.read(bytes(damaged[: chance.randrange(len(damaged))]), home)  # no error, whatever it finds


def test_what_strangers_write_stays_short_and_on_one_line(home: Settings) -> None:
    sent = Sent(home)
    take_in(home, notification(sent.mail, "x" * 500 + "@example.org", diagnostic="550 " + "\x1b[31m\x00 é" * 400))
    error = str(sent.delivery.error)
    assert len(error) < 500
    assert error.isprintable()


def test_a_message_that_is_gone(home: Settings) -> None:
    sent = Sent(home)
    Message.delete().execute()
    assert take_in(home, notification(sent.mail)) == ["gone"]


def test_history_does_not_grow_without_end(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounces, "_MOST_OF_ONE", 3)
    sent = Sent(home)
    found = [take_in(home, notification(sent.mail, told_by=str(number)))[0] for number in range(5)]
    assert found == ["failed", "noted", "noted", "known", "known"]


@pytest.mark.clocked
def test_mails_that_are_made_to_keep_it_busy_are_ignored_or_cut_off(home: Settings) -> None:
    sent = Sent(home)
    parts = b"".join(b"Content-Type: multipart/mixed; Boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(800))
    mails = b"Content-Type: message/rfc822\r\n\r\n" * 3000
    began = time.perf_counter()
    assert take_in(home, parts + b"-\n" * 700_000) == []
    assert take_in(home, mails + sent.mail) == []
    assert time.perf_counter() - began < 1.5, "the parser alone takes minutes"
    group = GROUP.format(recipient="ada@example.org", action="failed", diagnostic="550 no")
    assert len(bounces.read(notification(sent.mail, more=group * 300), home)) == 60
