from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import peewee as pw
import pytest
from support import dead
from support.cast import TEST
from support.dead import NOW, fail
from support.queued import put
from support.subscribing import Office, subscribe

from messagebroker.db import models
from messagebroker.db.writing import give_up_connection
from messagebroker.errors import NotFound
from messagebroker.ops import audit, clock, due, ids, timeline
from messagebroker.ops.dead_letter_moves import purge, retry, undo
from messagebroker.ops.dead_letter_pieces import advance
from messagebroker.ops.dead_letter_selection import Selection
from messagebroker.ops.scope import Scope
from messagebroker.ops.timeline import Event
from messagebroker.settings import Settings

EVERYTHING = Selection(all=True)


@pytest.fixture(autouse=True)
def _fresh(database: pw.Database) -> Iterator[None]:
    yield
    give_up_connection()


def attempt(message: bytes, number: int, minutes: float, **fields: Any) -> None:
    models.DeliveryAttempt.insert(
        message=message, subscription_id=fields.pop("subscription_id", 1), number=number, duration_ms=12,
        started_at=NOW + timedelta(minutes=minutes), **{"outcome": "retry", "code": 503, "error": "no answer", **fields},
    ).execute()  # fmt: skip


def kinds(message: bytes, **more: Any) -> list[str]:
    return [event.kind for event in timeline.of(message, **more).events]


def test_from_the_certificate_to_the_operators_actions_in_the_order_of_time() -> None:
    shop = dead.subscription("shop")
    [message] = fail(1, shop, ended_at=NOW + timedelta(minutes=3))
    models.Certificate.insert(
        serial="4f", name="acme", kind="client", pem="", not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=9)
    ).execute()
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    models.Message.update(certificate="4f", correlation_id="order 7", traceparent=trace).execute()
    attempt(message, 1, 1)
    attempt(message, 2, 2, outcome="failed", asked_by="user:ada@example.org")
    audit.record_by(TEST, "message.open", "message", ids.text(message))
    retry(EVERYTHING, TEST, rate=10_000, reason="up again")
    advance()
    found = timeline.of(message)
    assert found.certificate is not None
    assert (found.certificate.serial, found.certificate.name) == ("4f", "acme")
    assert found.certificate.not_after == NOW + timedelta(days=9)
    assert [event.kind for event in found.events] == [
        "accepted", "stored", "routed", "attempt", "attempt", "message.open", "retried",
    ]  # fmt: skip
    accepted, _, routed, first, second, opened, retried = found.events
    assert (accepted.who, accepted.details) == (
        "client:acme", {"correlation_id": "order 7", "traceparent": trace, "certificate": "4f"},
    )  # fmt: skip
    assert (routed.subscription_id, routed.subscription) == (shop, "shop")
    assert (first.number, first.outcome, first.code, first.error, first.duration_ms) == (1, "retry", 503, "no answer", 12)
    assert second.who == "user:ada@example.org"
    assert opened.who == "cli:test"
    assert (retried.who, retried.details) == ("cli:test", {"move": 1, "reason": "up again"})
    [state] = found.deliveries
    assert (state.status, state.subscription, state.channel, state.attempts) == ("pending", "shop", "webhook", 0)
    assert state.due_at is not None
    assert found.is_whole


def test_a_purge_and_its_undoing_and_its_end() -> None:
    [message] = fail(1, dead.subscription("shop"))
    move = purge(EVERYTHING, TEST, confirm=1, reason="closed")
    advance()
    undo(move.id, TEST)
    advance()
    assert kinds(message)[-2:] == ["purged", "undone"]
    assert timeline.of(message).events[-1].who == "cli:test"
    again = purge(EVERYTHING, TEST, confirm=1, reason="closed")
    advance()
    dead.later(again.id, 601)
    for _ in range(3):
        advance()
    assert models.Delivery.select().count() == 0
    found = timeline.of(message)
    assert [event.kind for event in found.events] == ["accepted", "stored", "purged", "undone", "purged"]
    assert {event.subscription for event in found.events[2:]} == {"shop"}, "also when the delivery is gone for good"
    assert found.deliveries == []


def test_inboxes_are_named_to_those_who_may_know() -> None:
    [message] = fail(1, dead.subscription("mailbox", channel="inbox"), status="delivered")
    person = models.User.insert(email="ada@example.org", role="user", password_hash="x", created_at=NOW).execute()
    models.InboxItem.insert(
        user=person,
        message=message,
        subscription_id=1,
        created_at=NOW + timedelta(minutes=7),
        read_at=NOW + timedelta(minutes=8),
    ).execute()
    found = {event.kind: event for event in timeline.of(message).events}
    assert (found["inbox"].details, found["read"].who) == ({"user": "user:ada@example.org"}, "user:ada@example.org")
    user = models.User.insert(email="bob@example.org", role="user", password_hash="x", created_at=NOW).execute()
    bob = models.User.get_by_id(user)
    assert "ada" not in repr(timeline.of(message, reader=bob).events)
    assert kinds(message, reader=bob)[-2:] == ["inbox", "read"]


def test_errors_of_other_peoples_subscriptions_are_told_to_those_who_may_know() -> None:
    """They name recipients, and hosts of this network."""
    shop = dead.subscription("shop")
    [message] = fail(1, shop)
    models.Delivery.update(error="refuses ada@example.org").execute()
    attempt(message, 1, 1, error="refuses ada@example.org", subscription_id=shop)
    user = models.User.insert(email="bob@example.org", role="user", password_hash="x", created_at=NOW).execute()
    bob = models.User.get_by_id(user)
    found = timeline.of(message, reader=bob)
    assert "ada" not in repr(found)
    assert [(event.code, event.outcome) for event in found.events if event.kind == "attempt"] == [(503, "retry")]
    models.Subscription.update(owner="bob@example.org").execute()
    assert timeline.of(message, reader=bob).deliveries[0].error == "refuses ada@example.org"
    assert repr(timeline.of(message)).count("ada@") == repr(timeline.of(message, reader=bob)).count("ada@") == 3


def test_what_is_scheduled_says_when() -> None:
    moment = clock.now() + timedelta(days=1)
    [row] = dead.message_rows(1, status="scheduled", due_at=moment, deliver_at=moment)
    dead.put(models.Message, [row])
    found = timeline.of(row["id"])
    assert found.events[-1] == Event(at=NOW, kind="scheduled", details={"due_at": moment})
    assert found.certificate is None


def test_what_was_scheduled_says_so_after_it_has_begun(settings: Settings) -> None:
    office = Office(settings)
    subscribe()
    at = clock.now() + timedelta(hours=1)
    (record,) = put(office, deliver_at=clock.micros(at))
    scheduled = Event(at=models.Message.get().stored_at, kind="scheduled", details={"due_at": at})
    assert scheduled in timeline.of(record.id).events
    models.Message.update(due_at=NOW).execute()
    due.release_due()
    assert models.Message.get().status == "pending"
    assert scheduled in timeline.of(record.id).events


def test_a_sender_with_a_clock_that_is_ahead_still_came_first() -> None:
    [message] = fail(1, dead.subscription("shop"))
    models.Message.update(created_at=clock.now() + timedelta(hours=1)).execute()
    assert kinds(message)[:2] == ["accepted", "stored"]


def test_an_alias_has_the_timeline_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    [message] = fail(1, dead.subscription("shop"))
    copy = ids.new()
    models.MessageAlias.insert(id=copy, message=message, created_at=NOW).execute()
    for known in (copy, message):
        audit.record_by(TEST, "message.open", "message", ids.text(known))
    found = timeline.of(copy)
    assert found.message.alias_of == ids.text(message)
    assert [event.kind for event in found.events].count("message.open") == 2


def test_a_certificate_that_the_books_do_not_have() -> None:
    [message] = fail(1, dead.subscription("shop"))
    models.Message.update(certificate="ab").execute()
    assert timeline.of(message).certificate == timeline.SenderCertificate(serial="ab")


def test_more_than_is_shown_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MOST", 3)
    [message] = fail(1, dead.subscription("shop"))
    for number in range(1, 6):
        attempt(message, number, number)
    found = timeline.of(message)
    assert [event.number for event in found.events if event.kind == "attempt"] == [3, 4, 5]
    assert not found.is_whole


def test_outside_of_the_scope_there_is_nothing() -> None:
    [message] = fail(1, dead.subscription("shop"))
    assert timeline.of(message, Scope(frozenset({"acme"}), frozenset()))
    with pytest.raises(NotFound):
        timeline.of(message, Scope(frozenset({"other"}), frozenset({"other"})))
