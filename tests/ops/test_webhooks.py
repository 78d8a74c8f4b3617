from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import peewee as pw
import pytest
from support.cast import TEST, Shelf, audited
from support.fake_webhook import FakeWebhook
from support.subscribed import attempt, delivery, webhook

from messagebroker.db import models
from messagebroker.errors import Conflict, NotFound, Unavailable
from messagebroker.ops import (
    allowed_networks,
    cancelling,
    clock,
    ids,
    keyring,
    resending,
    signing_secrets,
    subscriptions,
    webhook_logs,
    webhook_test,
    webhooks,
)
from messagebroker.ops.deliveries.claimed import keys_of
from messagebroker.ops.deliveries.opening import Payloads
from messagebroker.ops.fields import WrongField
from messagebroker.ops.subscriptions import Details
from messagebroker.settings import Settings, load

Delivery: Any = models.Delivery
Message: Any = models.Message
NOW = clock.now()
LONG_AGO = NOW - timedelta(days=30)


@pytest.fixture
def settings(database: pw.Database, tmp_path: Path) -> Settings:
    made = load({}, data_dir=tmp_path, environment="test")
    keyring.first_secrets(made)
    return made


@pytest.fixture
def shelf(settings: Settings) -> Shelf:
    return Shelf(settings)


@pytest.fixture
def shop(settings: Settings) -> Details:
    return webhook(settings)


def row(message: str, number: int) -> Any:
    return Delivery.get(Delivery.message == ids.parse(message), Delivery.subscription_id == number)


def status(message: str) -> str:
    return str(Message.get_by_id(ids.parse(message)).status)


def test_the_state_counts_and_shows_the_last_attempts(shelf: Shelf, shop: Details, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "MOST_COUNTED", 4)
    empty = webhooks.state(shop.id)
    assert (empty.pending, empty.failed, empty.last_success, empty.breaker) == (0, 0, None, None)
    for number in range(3):
        delivery(shelf, shop.id, "pending", priority=number, due_at=NOW + timedelta(minutes=5 - number))
    for _ in range(5):
        failed = delivery(shelf, shop.id, "failed")
    attempt(failed, shop.id, "delivered", code=200)
    attempt(failed, shop.id, "gone", code=410)
    attempt(failed, shop.id, "retry", code=500, error="500 from shop")
    attempt(failed, shop.id + 1, "delivered", code=299)
    models.BreakerEvent.insert(subscription_id=shop.id, created_at=NOW, state="open", why="x").execute()
    found = webhooks.state(shop.id)
    assert (found.pending, found.processing, found.failed) == (3, 0, 4), "counted so far and no further"
    assert found.oldest_due_at == NOW + timedelta(minutes=3)
    assert found.last_success is not None
    assert found.last_failure is not None
    assert (found.last_success.code, found.last_failure.code, found.last_failure.error) == (200, 500, "500 from shop")
    assert (found.breaker, found.breaker_since) == ("open", NOW)


def test_logs_are_newest_first_of_all_outcomes_or_of_one(shelf: Shelf, shop: Details) -> None:
    message = delivery(shelf, shop.id)
    kinds = ("retry", "delivered", "failed", "delivered", "gone", "retry")
    made = [attempt(message, shop.id, kind, request='{"webhook-id":"x"}') for kind in kinds]
    attempt(message, shop.id + 1)
    assert [entry.id for entry in webhook_logs.page(shop.id, limit=9)] == made[::-1]
    assert [entry.id for entry in webhook_logs.page(shop.id, limit=2, after=made[3])] == [made[2], made[1]]
    assert [entry.id for entry in webhook_logs.page(shop.id, limit=9, outcome="retry")] == [made[5], made[0]]
    entry = webhook_logs.page(shop.id, limit=1)[0]
    assert (entry.message_id, entry.request, entry.answer) == (message, {"webhook-id": "x"}, None)


def test_answers_are_opened_on_record(settings: Settings, shelf: Shelf, shop: Details) -> None:
    payloads, message = Payloads(settings), delivery(shelf, shop.id)
    key_id = bytes(Message.get_by_id(ids.parse(message)).data_key_id)
    sealed = payloads.seal_answer(ids.parse(message) or b"", b"no such \xff order", keys_of([key_id])[key_id])
    attempt(message, shop.id, "failed", answer=sealed)
    attempt(message, shop.id, "retry")
    assert [entry.answer for entry in webhook_logs.page(shop.id, limit=9)] == [None, None]
    assert audited("webhook.logs-open") == []
    opened = webhook_logs.page_with_answers(payloads, TEST, shop.id, limit=9)
    assert [entry.answer for entry in opened] == [None, "no such � order"]
    assert message in str(audited("webhook.logs-open")[0].details)


def test_an_answer_that_does_not_open_hides_no_other(settings: Settings, shelf: Shelf, shop: Details) -> None:
    payloads, message, lost = Payloads(settings), delivery(shelf, shop.id), delivery(shelf, shop.id)
    key_id = bytes(Message.get_by_id(ids.parse(message)).data_key_id)
    sealed = payloads.seal_answer(ids.parse(message) or b"", b"fine", keys_of([key_id])[key_id])
    Message.update(data_key_id=bytes(16)).where(Message.id == ids.parse(lost)).execute()
    for of, answer in ((lost, sealed), (message, b"changed"), (message, sealed)):
        attempt(of, shop.id, "failed", answer=answer)
    fine, changed, gone = (entry.answer for entry in webhook_logs.page_with_answers(payloads, TEST, shop.id, limit=9))
    assert fine == "fine"
    assert "opened" in str(changed)
    assert "data key" in str(gone)


@pytest.mark.parametrize("was", ["delivered", "failed", "cancelled"])
def test_one_is_sent_again_whatever_became_of_it(shelf: Shelf, shop: Details, was: str) -> None:
    expires = datetime(2099, 1, 1, tzinfo=UTC)
    message = delivery(shelf, shop.id, was, message=shelf.put(status=was, expires_at=expires), attempts=8, crashes=2)
    resending.resend(shop.id, ids.parse(message) or b"", TEST)
    found = row(message, shop.id)
    assert (found.status, found.attempts, found.crashes, found.fingerprint, found.error) == ("pending", 0, 0, None, None)
    assert found.due_at is not None
    assert abs(found.due_at - clock.now()) < timedelta(seconds=30)
    assert status(message) == "pending"
    assert Message.get_by_id(ids.parse(message)).due_at == expires, "it expires all the same"
    [told] = audited("webhook.resend")
    assert (told.object_type, told.object_id) == ("message", message)


def test_a_pending_one_is_due_now_and_keeps_its_place_in_the_schedule(shelf: Shelf, shop: Details) -> None:
    message = delivery(shelf, shop.id, "pending", due_at=NOW + timedelta(hours=5), attempts=3)
    resending.resend(shop.id, ids.parse(message) or b"", TEST)
    found = row(message, shop.id)
    assert found.attempts == 3
    assert found.due_at < clock.now() + timedelta(minutes=5)


def test_a_worker_that_was_faster_keeps_its_lease(shelf: Shelf, shop: Details, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = NOW + timedelta(seconds=90)
    message = delivery(shelf, shop.id, "pending")

    def claimed_meanwhile() -> datetime:
        Delivery.update(status="processing", due_at=lease, holder=b"h" * 16).execute()
        return NOW

    monkeypatch.setattr(resending, "database_now", claimed_meanwhile)
    with pytest.raises(Conflict, match="being delivered"):
        resending.resend(shop.id, ids.parse(message) or b"", TEST)


def test_what_cannot_be_sent_again(shelf: Shelf, shop: Details) -> None:
    running = ids.parse(delivery(shelf, shop.id, "processing")) or b""
    over = ids.parse(delivery(shelf, shop.id, "expired", message=shelf.put(expires_at=LONG_AGO))) or b""
    other = ids.parse(delivery(shelf, shop.id + 1)) or b""
    later = ids.parse(delivery(shelf, shop.id, "pending", message=shelf.put(status="scheduled"))) or b""
    taken_back = delivery(shelf, shop.id, "cancelled", message=shelf.put(status="cancelled"), error=cancelling.CANCELLED)
    with pytest.raises(Conflict, match="being delivered"):
        resending.resend(shop.id, running, TEST)
    with pytest.raises(Conflict, match="expired at"):
        resending.resend(shop.id, over, TEST)
    with pytest.raises(Conflict, match="is scheduled"):
        resending.resend(shop.id, later, TEST)
    with pytest.raises(Conflict, match="is cancelled"):
        resending.resend(shop.id, ids.parse(taken_back) or b"", TEST)
    with pytest.raises(NotFound, match="no delivery"):
        resending.resend(shop.id, other, TEST)
    subscriptions.disable(shop.id, TEST, why="asleep")
    with pytest.raises(Conflict, match=r"asleep.*enable it"):
        resending.resend(shop.id, running, TEST)


def test_all_that_failed_since_a_time_is_due_again_at_a_rate(
    shelf: Shelf, shop: Details, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resending, "BATCH", 3)

    def failed(days: float, number: int, **changes: Any) -> str:
        own = ids.floor(NOW - timedelta(days=days))[:8] + number.to_bytes(8)
        return delivery(shelf, shop.id, "failed", message=shelf.put(id=own, status="failed"), **changes)

    recent = [failed(1, number, fingerprint="abc"[number % 3] * 16) for number in range(10)]
    recent.append(failed(1, 20, fingerprint=None))
    old, moved = failed(9, 30), failed(1, 40, move_id=7)
    elsewhere = delivery(shelf, shop.id + 1)
    since = NOW - timedelta(days=2)
    assert resending.preview(shop.id, since) == 11
    assert resending.preview(shop.id, since, NOW - timedelta(days=1, hours=1)) == 0
    done = resending.recover(shop.id, since, None, TEST, rate=10)
    assert (done.found, done.recovered, done.more, done.lasts_seconds) == (11, 11, False, 1.1)
    due = sorted(row(message, shop.id).due_at for message in recent)
    assert {status(message) for message in recent} == {"pending"}
    assert timedelta(seconds=0.9) <= due[-1] - due[0] <= timedelta(seconds=1.1)
    assert len(set(due)) == 11
    assert [row(one, shop.id).status for one in (old, moved)] == ["failed", "failed"]
    assert row(elsewhere, shop.id + 1).status == "failed"
    assert resending.recover(shop.id, since, None, TEST, rate=10).recovered == 0
    assert len(audited("webhook.recover")) == 2


def test_a_recovery_leaves_alone_what_has_expired(shelf: Shelf, shop: Details) -> None:
    over, alive = delivery(shelf, shop.id, message=shelf.put(expires_at=LONG_AGO)), delivery(shelf, shop.id)
    assert resending.preview(shop.id, LONG_AGO) == 1
    found = resending.recover(shop.id, LONG_AGO, None, TEST, rate=100)
    assert (found.recovered, found.more) == (1, False)
    assert [row(one, shop.id).status for one in (over, alive)] == ["failed", "pending"]


def test_a_recovery_finds_what_failed_in_this_very_millisecond(
    shelf: Shelf, shop: Details, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids count whole milliseconds."""
    just_now = ids.parse(delivery(shelf, shop.id)) or b""
    monkeypatch.setattr(clock, "now", lambda: ids.drawn_at(just_now))
    assert resending.preview(shop.id, LONG_AGO) == 1
    assert resending.recover(shop.id, LONG_AGO, None, TEST, rate=100).recovered == 1


def test_a_recovery_ends_where_it_would_take_too_long(shelf: Shelf, shop: Details, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resending, "BATCH", 2)
    monkeypatch.setattr(resending, "MOST", 4)
    for _ in range(5):
        delivery(shelf, shop.id)
    assert resending.preview(shop.id, LONG_AGO) == 4
    first = resending.recover(shop.id, LONG_AGO, None, TEST, rate=100)
    assert (first.recovered, first.more) == (4, True)
    assert resending.recover(shop.id, LONG_AGO, None, TEST, rate=100).recovered == 1


def test_a_recovery_takes_no_longer_than_a_request_may(shelf: Shelf, shop: Details, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resending, "BATCH", 2)
    monkeypatch.setattr(resending, "SECONDS", -1.0)
    delivery(shelf, shop.id)
    found = resending.recover(shop.id, LONG_AGO, None, TEST, rate=100)
    assert (found.recovered, found.more) == (0, True)


def test_a_recovery_that_is_cut_short_is_on_record(shelf: Shelf, shop: Details, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: Any) -> int:
        raise Unavailable("gone away")

    delivery(shelf, shop.id)
    monkeypatch.setattr(resending, "_make_due", cut)
    with pytest.raises(Unavailable):
        resending.recover(shop.id, LONG_AGO, None, TEST, rate=100)
    assert len(audited("webhook.recover")) == 1
    assert audited("webhook.recovered") == []


def test_a_secret_is_rotated_with_an_overlap(settings: Settings, shop: Details) -> None:
    def secrets() -> list[Any]:
        return list(subscriptions.secrets_of(settings, subscriptions.row_of(shop.id)).signing)

    [first] = secrets()
    rotated = signing_secrets.rotate(settings, shop.id, TEST, overlap_hours=24)
    new, old = secrets()
    assert (new.secret, new.until, old.secret) == (rotated.secret, None, first.secret)
    assert old.until == rotated.old_until
    assert timedelta(hours=23) < old.until - NOW < timedelta(hours=25)
    assert subscriptions.find(shop.id).changed_at > shop.changed_at, "workers read it again"
    for _ in range(7):
        signing_secrets.rotate(settings, shop.id, TEST, overlap_hours=48)
    kept = secrets()
    assert len(kept) == 5
    assert [one.until is None for one in kept] == [True, False, False, False, False]
    signing_secrets.rotate(settings, shop.id, TEST, overlap_hours=0)
    assert kept[0].secret not in [one.secret for one in secrets()], "a stolen one ends at once"
    assert rotated.secret not in str([row.details for row in audited("webhook.rotate-secret")])


def test_a_test_goes_through_the_channel_and_is_stored_nowhere(settings: Settings, fake_webhook: type[FakeWebhook]) -> None:
    made = webhook(settings, config={"url": "https://shop.example.org/", "timeout": 60})
    subscriptions.disable(made.id, TEST)
    tested = webhook_test.run(settings, made.id, TEST)
    assert (tested.delivered, tested.code, tested.answer) == (True, 204, "thanks")
    [work] = fake_webhook.works
    assert work.target.secrets.signing[0].secret.startswith("whsec_")
    assert work.target.config.timeout == webhook_test.LONGEST_SECONDS, "a thread of main waits"
    assert tested.message_id == ids.text(work.message_id)
    assert (Message.select().count(), Delivery.select().count(), models.DeliveryAttempt.select().count()) == (0, 0, 0)
    assert len(audited("webhook.test")) == 1


def test_tests_do_not_hold_many_threads(
    settings: Settings, fake_webhook: type[FakeWebhook], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_test, "_places", threading.BoundedSemaphore(1))
    monkeypatch.setattr(fake_webhook, "hold", threading.Event())
    made = webhook(settings)
    first = threading.Thread(target=webhook_test.run, args=(settings, made.id, TEST))
    first.start()
    assert fake_webhook.entered.wait(10)
    with pytest.raises(webhook_test.TooMany):
        webhook_test.run(settings, made.id, TEST)
    assert fake_webhook.hold is not None
    fake_webhook.hold.set()
    first.join()
    assert webhook_test.run(settings, made.id, TEST).delivered


def test_only_webhooks_are_tested_and_rotated(settings: Settings) -> None:
    mail = webhook(settings, channel="inbox", config={"group": 1})
    with pytest.raises(NotFound, match="of the channel inbox"):
        webhook_test.run(settings, mail.id, TEST)
    with pytest.raises(NotFound, match="of the channel inbox"):
        signing_secrets.rotate(settings, mail.id, TEST)


@pytest.mark.parametrize("network", ["", "x", "10.1.2.3/16", "8.8.8.0/24", "0.0.0.0/0", "10.0.0.0/7", "::/0", "224.0.0.0/8"])
def test_what_is_no_private_network_is_refused(database: pw.Database, network: str) -> None:
    with pytest.raises(WrongField) as wrong:
        allowed_networks.add(network, "why not", TEST)
    assert wrong.value.field == "network"


def test_the_list_of_networks(database: pw.Database) -> None:
    assert allowed_networks.add(" 10.1.0.0/16 ", "the warehouse", TEST).network == "10.1.0.0/16"
    allowed_networks.add("FD00:1::/32", "the other one", TEST)
    allowed_networks.add("127.0.0.1", "a test", TEST)
    with pytest.raises(Conflict, match="already"):
        allowed_networks.add("10.1.0.0/16", "again", TEST)
    with pytest.raises(WrongField, match="reason"):
        allowed_networks.add("10.2.0.0/16", " ", TEST)
    listed = [entry.network for entry in allowed_networks.page(limit=2)]
    assert listed == ["10.1.0.0/16", "127.0.0.1/32"]
    assert [entry.network for entry in allowed_networks.page(limit=2, after=listed[-1])] == ["fd00:1::/32"]
    allowed_networks.remove("10.1.0.0/16", "moved out", TEST)
    with pytest.raises(NotFound, match="webhooks allowed"):
        allowed_networks.remove("10.1.0.0/16", "moved out", TEST)
    assert [len(audited(f"network.{word}")) for word in ("allow", "disallow")] == [3, 1]
