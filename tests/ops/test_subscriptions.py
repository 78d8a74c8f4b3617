from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import peewee as pw
import pytest
from support.cast import TEST, Shelf, audited
from support.subscribed import URL, delivery, webhook

from messagebroker.db import models, resealing
from messagebroker.db.models import Client, DataKey
from messagebroker.errors import Damaged, NotFound
from messagebroker.ops import clock, groups, ids, keyring, retention, subscription_removal, subscriptions, users
from messagebroker.ops.channels.webhook_config import WebhookSecrets
from messagebroker.ops.deliveries.claimed import keys_of
from messagebroker.ops.fields import WrongField
from messagebroker.ops.keyring import KeyRing
from messagebroker.ops.subscription_pages import Unindexed, page
from messagebroker.ops.subscriptions import create
from messagebroker.settings import Settings, load

Delivery: Any = models.Delivery
Message: Any = models.Message
Subscription: Any = models.Subscription
SECRET = "whsec_" + "QUJD" * 10


@pytest.fixture
def settings(database: pw.Database, tmp_path: Path) -> Settings:
    made = load({}, data_dir=tmp_path, environment="test")
    keyring.first_secrets(made)
    return made


@pytest.fixture
def shelf(settings: Settings) -> Shelf:
    return Shelf(settings)


def secrets_of(settings: Settings, number: int) -> WebhookSecrets:
    found = subscriptions.secrets_of(settings, subscriptions.row_of(number))
    assert isinstance(found, WebhookSecrets)
    return found


def test_a_webhook_gets_a_signing_secret_that_is_shown_once(settings: Settings) -> None:
    made = create(settings, {"name": " shop ", "channel": "webhook", "topics": ["a", "a"], "config": {"url": URL}}, TEST)
    assert (made.details.name, made.details.topics, made.details.has_secrets) == ("shop", ["a"], True)
    assert made.details.config.items() >= {"url": URL, "timeout": 15, "format": "native"}.items(), "defaults are shown"
    [drawn] = secrets_of(settings, made.details.id).signing
    assert made.signing_secret == drawn.secret
    given = {"signing": [{"secret": SECRET}], "headers": {"Authorization": "Bearer abc"}}
    own = create(settings, {"name": "x", "channel": "webhook", "topics": ["*"], "config": {"url": URL}, "secrets": given}, TEST)
    assert own.signing_secret is None
    assert secrets_of(settings, own.details.id).headers == {"Authorization": "Bearer abc"}
    stored = str(list(Subscription.select().dicts())) + str([row.details for row in audited("subscription.create")])
    assert drawn.secret not in stored
    assert "abc" not in stored


def test_secrets_open_under_their_own_subscription_only(settings: Settings) -> None:
    one, other = webhook(settings), webhook(settings)
    row = subscriptions.row_of(one.id)
    Subscription.update(secrets=row.secrets, data_key_id=row.data_key_id).where(Subscription.id == other.id).execute()
    assert secrets_of(settings, one.id).signing
    with pytest.raises(Damaged, match=f"subscription {other.id}"):
        secrets_of(settings, other.id)


def test_cleaning_up_keeps_the_data_key_of_a_subscription(settings: Settings) -> None:
    kept, replaced = webhook(settings), webhook(settings)
    old = bytes(subscriptions.row_of(replaced.id).data_key_id)
    subscriptions.change(settings, replaced.id, {"secrets": {"headers": {"X-Key": "1"}}}, TEST)
    long_ago = clock.now() - timedelta(days=400)
    DataKey.update(created_at=long_ago, last_seen_at=long_ago).execute()
    assert retention.cleanup(settings).data_keys == 1
    assert not DataKey.select().where(DataKey.id == old).exists()
    assert secrets_of(settings, kept.id).signing
    assert secrets_of(settings, replaced.id).headers == {"X-Key": "1"}


def test_secrets_open_after_the_master_key_was_changed(settings: Settings) -> None:
    made = webhook(settings)
    before = KeyRing.load(settings)
    keyring.create_master_key(settings)
    ring = KeyRing.load(settings)
    old, new = before.keys[0][0], ring.keys[0][0]
    assert resealing.count_by_master_key() == {old: 1}, "a rotation finds it"
    public = ring.keys[0][1].public_key()
    resealed = []
    for key_id, _ in resealing.next_keys(old, b"", 10):
        plain = ring.open_key(keys_of([key_id])[key_id])
        resealed.append((key_id, keyring.SUITE.encrypt(plain, public, keyring.purpose_of(key_id))))
    resealing.replace(resealed, old, new)
    keyring.remove_master_key(settings, old.hex())
    assert secrets_of(settings, made.id).signing


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"topics": []}, "topics"),
        ({"topics": ["a b"]}, "topics"),
        ({"topics": ["****"]}, "topics"),
        ({"channel": "fax"}, "channel"),
        ({"channel": None}, "channel"),
        ({"filter": {"priorities": ["urgent"]}}, "filter.priorities[0]"),
        ({"filter": {"metadata": {"a": [1]}}}, "filter.metadata[...]"),
        ({"filter": {"colour": 1}}, "filter.colour"),
        ({"owner": "nobody@example.org"}, "owner"),
        ({"group_id": 77}, "group_id"),
        ({"client": "absent"}, "client"),
        ({"client": "acme"}, "client"),
        ({"ordered_by": "topic"}, "ordered_by"),
        ({"schedule": []}, "schedule"),
        ({"schedule": [-1]}, "schedule"),
        ({"schedule": [True]}, "schedule"),
        ({"config": {}}, "config.url"),
        ({"config": {"url": "ftp://a.b.c"}}, "config"),
        ({"config": {"url": "https://u:p@shop.example.org"}}, "config"),
        ({"config": {"url": URL, "timeout": 61}}, "config.timeout"),
        ({"config": {"url": URL, "colour": 1}}, "config.colour"),
        ({"config": []}, "config"),
        ({"secrets": {"signing": [{"secret": "abc"}]}}, "secrets.signing[0]"),
        ({"secrets": {"headers": {"Host": "x"}}}, "secrets"),
        ({"secrets": {"headers": {"webhook-id": "x"}}}, "secrets"),
        ({"secrets": {"headers": {"X-A": "a\r\nX-B: c"}}}, "secrets"),
        ({"secrets": {"client_key": "x"}}, "secrets"),
        ({"id": 7}, "id"),
        ({"channel": "pull", "config": {}}, "client"),
        ({"channel": "pull", "config": {}, "client": "acme", "schedule": [1]}, "schedule"),
        ({"channel": "pull", "config": {}, "client": "acme", "ordered_by": "size"}, "ordered_by"),
        ({"channel": "pull", "config": {}, "client": "acme", "secrets": {"a": 1}}, "secrets"),
        ({"channel": "inbox", "config": {"user": "a@b.c", "group": 1}}, "config"),
        ({"channel": "email", "config": {"to": ["no address"]}}, "config.to[0]"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_stored(settings: Settings, given: dict[str, Any], field: str) -> None:
    Client.insert(name="acme", created_at=clock.now()).execute()
    whole = {"name": "shop", "channel": "webhook", "topics": ["orders"], "config": {"url": URL}, **given}
    with pytest.raises(WrongField) as wrong:
        create(settings, whole, TEST)
    assert wrong.value.field == field, wrong.value
    assert (Subscription.select().count(), DataKey.select().count()) == (0, 0)


def test_changes_keep_what_they_do_not_name(settings: Settings) -> None:
    made = webhook(
        settings, filter={"priorities": ["high"]}, secrets={"headers": {"X-A": "1"}, "signing": [{"secret": SECRET}]}
    )
    moved = subscriptions.change(settings, made.id, {"config": {"timeout": 30}, "filter": None, "schedule": [0, 5]}, TEST)
    assert moved.config == {**made.config, "timeout": 30}
    assert (moved.filter, moved.schedule) == (None, [0, 5])
    assert moved.changed_at > made.changed_at, "workers read it again"
    subscriptions.change(settings, made.id, {"secrets": {"headers": {"X-B": "a secret"}}}, TEST)
    found = secrets_of(settings, made.id)
    assert (found.headers, [one.secret for one in found.signing]) == ({"X-B": "a secret"}, [SECRET])
    rows = [json.loads(row.details) for row in audited("subscription.change")]
    assert rows[1]["secrets"] == ["headers"]
    assert "a secret" not in str(rows)
    with pytest.raises(WrongField, match="rotate-secret"):
        subscriptions.change(settings, made.id, {"secrets": {"signing": []}}, TEST)
    with pytest.raises(WrongField, match="channel"):
        subscriptions.change(settings, made.id, {"channel": "email"}, TEST)
    again = subscriptions.change(settings, made.id, {"name": "shop"}, TEST)
    assert again.changed_at == subscriptions.find(made.id).changed_at
    assert len(audited("subscription.change")) == 2, "what changes nothing leaves no row"


def test_the_switch(settings: Settings) -> None:
    made = webhook(settings)
    Subscription.update(failures=9, failing_since=clock.now(), warned=70).execute()
    off = subscriptions.disable(made.id, TEST, why="they asked")
    assert (off.disabled_why, subscriptions.disable(made.id, TEST).disabled_at) == ("they asked", off.disabled_at)
    on = subscriptions.enable(made.id, TEST)
    assert (on.disabled_at, on.disabled_why, on.failures, on.failing_since) == (None, None, 0, None)
    assert subscriptions.row_of(made.id).warned == 0
    subscriptions.enable(made.id, TEST)
    assert [len(audited(f"subscription.{word}")) for word in ("disable", "enable")] == [1, 1]


def test_removing_cancels_what_is_open_and_statuses_follow(
    settings: Settings, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_removal, "BATCH", 2)
    gone, stays = webhook(settings), webhook(settings)
    waiting = [delivery(shelf, gone.id, "pending", priority=n % 4) for n in range(5)]
    running = delivery(shelf, gone.id, "processing", holder=b"h" * 16)
    done, dead = delivery(shelf, gone.id, "delivered"), delivery(shelf, gone.id, "failed")
    both = delivery(shelf, gone.id, "pending")
    delivery(shelf, stays.id, "pending", message=both)
    also = delivery(shelf, gone.id, "pending")
    delivery(shelf, stays.id, "delivered", message=also)
    assert subscription_removal.remove(gone.id, TEST) == 8
    status = {ids.text(row.id): row.status for row in Message.select(Message.id, Message.status)}
    assert {status[one] for one in [*waiting, running]} == {"cancelled"}
    assert (status[done], status[dead], status[both], status[also]) == ("delivered", "failed", "processing", "delivered")
    row = Subscription.get_by_id(gone.id)
    assert (row.secrets, row.data_key_id, row.removed_at is None) == (None, None, False)
    assert Delivery.select().where(Delivery.subscription_id == stays.id, Delivery.status == "pending").count() == 1
    with pytest.raises(NotFound):
        subscriptions.find(gone.id)
    with pytest.raises(NotFound):
        subscription_removal.remove(gone.id, TEST)


def test_removing_one_begins_nothing_that_is_scheduled(settings: Settings, shelf: Shelf) -> None:
    gone, stays = webhook(settings), webhook(settings)
    tomorrow = clock.now() + timedelta(days=1)
    one = shelf.put(status="scheduled", deliver_at=tomorrow, due_at=tomorrow)
    for number in (gone.id, stays.id):
        delivery(shelf, number, "pending", message=one, due_at=tomorrow)
    assert subscription_removal.remove(gone.id, TEST) == 1
    row = Message.get_by_id(ids.parse(one))
    assert (row.status, row.due_at) == ("scheduled", tomorrow), "who sent it may still take it back"
    assert subscription_removal.remove(stays.id, TEST) == 1
    assert Message.get_by_id(ids.parse(one)).status == "cancelled"


def test_lists_by_channel_owner_and_person(settings: Settings) -> None:
    for name in ("ada", "bob", "eve"):
        users.create(f"{name}@example.org", "user", actor=TEST)
    group = groups.create("team", actor=TEST).id
    groups.alter(group, manager="bob@example.org", actor=TEST)
    made = [webhook(settings, owner="ada@example.org"), webhook(settings, group_id=group)]
    inbox = {"channel": "inbox", "config": {"user": "ada@example.org"}, "owner": "ada@example.org"}
    made.append(webhook(settings, **inbox))
    one, of_group, mail = (entry.id for entry in made)
    removed = webhook(settings, owner="ada@example.org").id
    subscription_removal.remove(removed, TEST)

    def listed(**filters: Any) -> list[int]:
        return [entry.id for entry in page(limit=10, **filters)]

    assert listed() == [one, of_group, mail]
    assert listed(after=one) == [of_group, mail]
    assert listed(channel="webhook") == [one, of_group]
    assert listed(owner="ada@example.org") == [one, mail]
    people = {name: users.find(f"{name}@example.org") for name in ("ada", "bob", "eve")}
    assert listed(only_of=people["ada"]) == [one, mail]
    assert listed(only_of=people["ada"], channel="inbox") == [mail]
    assert listed(only_of=people["bob"]) == [of_group]
    assert listed(only_of=people["eve"]) == []
    assert [entry.id for entry in page(limit=1, only_of=people["ada"], channel="inbox")] == [mail]
    with pytest.raises(Unindexed):
        page(limit=1, owner="ada@example.org", channel="webhook")
    for name, seen in (("ada", [one, mail]), ("bob", [of_group]), ("eve", [])):
        for number in (one, of_group, mail):
            if number in seen:
                assert subscriptions.find(number, only_of=people[name]).id == number
            else:
                with pytest.raises(NotFound):
                    subscriptions.find(number, only_of=people[name])


def test_the_largest_that_is_taken_fits_into_the_tables(database: pw.Database, settings: Settings) -> None:
    """On MySQL a text has 65,535 bytes, and the audit log has what was and what is in one."""
    topics = [f"{number:03}{'a' * 197}" for number in range(200)]
    mail = {"name": "m", "channel": "email", "topics": topics, "config": {"to": ["ada@example.org"], "text": "é" * 29_000}}
    made = subscriptions.create(settings, {**mail, "filter": {"metadata": {"a": "x" * 15_900}}}, TEST).details
    changed = {
        "topics": [topic[:-1] for topic in topics],
        "config": {"text": "ü" * 29_000},
        "filter": {"metadata": {"a": "y" * 15_900}},
    }
    assert subscriptions.change(settings, made.id, changed, TEST).config["text"][0] == "ü"
    for field, value in (("config", {"html": "x" * 50_000}), ("filter", {"metadata": {"a": "x" * 16_000}})):
        with pytest.raises(WrongField, match="bytes as JSON"):
            subscriptions.change(settings, made.id, {field: value}, TEST)
