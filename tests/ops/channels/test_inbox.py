"""Deliveries to inboxes: every message once for everybody who is there now, whatever is delivered twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import msgspec
import peewee as pw
import pytest
from support.works import target, work

from messagebroker.db.connection import connected
from messagebroker.db.models import Group, GroupMember, InboxItem, Message, User
from messagebroker.db.writing import give_up_connection, writing
from messagebroker.ops import clock, ids, retention
from messagebroker.ops import inbox as inboxes
from messagebroker.ops.channels import CHANNELS, inbox
from messagebroker.ops.channels.channel import Outcome, Work
from messagebroker.ops.channels.inbox_config import InboxConfig
from messagebroker.settings import load

SETTINGS = load({}, environment="test")


@pytest.fixture(autouse=True)
def _database(database: pw.Database) -> Iterator[None]:
    with connected():
        yield


def person(name: str, **more: Any) -> int:
    fields = {"role": "user", "password_hash": "x", "created_at": clock.now(), **more}
    return int(User.create(email=f"{name}@example.org", **fields).id)


def group(*members: int) -> int:
    made = Group.create(name=f"g{ids.text(ids.new())}", created_at=clock.now())
    for member in members:
        GroupMember.insert(group=made.id, user=member, added_at=clock.now()).execute()
    return int(made.id)


def stored(number: int, **more: Any) -> list[bytes]:
    made = [ids.new() for _ in range(number)]
    now = clock.now()
    fields = {
        "client_id": "acme", "topic": "orders", "priority": 2, "status": "processing", "created_at": now, "stored_at": now,
        "size": 1, "data_key_id": bytes(16), "payload": bytes(60), **more,
    }  # fmt: skip
    Message.insert_many([{"id": one, **fields} for one in made]).execute()
    return made


def works(messages: list[bytes], *, subscription: int = 7, **config: Any) -> list[Work]:
    to = target(InboxConfig(**config), id=subscription)
    return [work(to, message_id=one) for one in messages]


def deliver(*calls: list[Work]) -> list[Outcome]:
    async def run() -> list[Outcome]:
        channel = CHANNELS["inbox"].make(SETTINGS)
        try:
            return [outcome for call in calls for outcome in await channel.deliver(call)]
        finally:
            await channel.close()

    return asyncio.run(run())


def kinds(outcomes: list[Outcome]) -> list[str]:
    return [outcome.kind for outcome in outcomes]


def items() -> set[tuple[int, bytes]]:
    return {(row.user_id, bytes(row.message_id)) for row in InboxItem.select()}


def test_to_one_person() -> None:
    ada, _ = person("ada"), person("bob")
    messages = stored(3)
    assert kinds(deliver(works(messages, user="ada@example.org"))) == ["delivered"] * 3
    assert items() == {(ada, one) for one in messages}
    row = InboxItem.select().first()
    assert (row.subscription_id, row.read_at) == (7, None)
    assert abs(row.created_at - clock.now()) < timedelta(seconds=30)


def test_to_everybody_who_is_in_the_group_at_that_moment() -> None:
    ada, bob, eve = person("ada"), person("bob"), person("eve", disabled_at=clock.now())
    number = group(ada, eve)
    early, late = stored(1), stored(1)
    deliver(works(early, group=number))
    GroupMember.insert(group=number, user=bob, added_at=clock.now()).execute()
    deliver(works(late, group=number))
    assert items() == {(ada, early[0]), (ada, late[0]), (bob, late[0])}


def test_twice_delivered_is_once_there_and_stays_read() -> None:
    ada = person("ada")
    messages = stored(3)
    deliver(works(messages[:2], user="ada@example.org"))
    with writing():
        InboxItem.update(read_at=clock.now()).where(InboxItem.message == messages[0]).execute()
    number = group(ada)
    again = deliver(works(messages, user="ada@example.org"), works(messages, group=number, subscription=8))
    assert kinds(again) == ["delivered"] * 6
    assert items() == {(ada, one) for one in messages}
    assert [bytes(row.message_id) for row in InboxItem.select().where(InboxItem.read_at.is_null(False))] == messages[:1]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"user": "nobody@example.org"}, "no user nobody@example.org"),
        ({"user": "zoe@example.org"}, "disabled"),
        ({"user": "zo\u00e9@example.org"}, "no user"),
        ({"group": 999}, "group 999 is not there"),
    ],
)
def test_nobody_to_read_it_fails_for_ever(config: dict[str, Any], said: str) -> None:
    person("zoe", disabled_at=clock.now())
    outcomes = deliver(works(stored(2), **config))
    assert kinds(outcomes) == ["failed", "failed"]
    assert said in str(outcomes[0].error)
    assert items() == set()


def test_a_group_without_readers_fails_for_ever() -> None:
    for number in (group(), group(person("eve", disabled_at=clock.now()))):
        [outcome] = deliver(works(stored(1), group=number))
        assert outcome.kind == "failed"
        assert "nobody who could read" in str(outcome.error)


def test_a_large_group_gets_its_messages_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MOST_ROWS", 7)
    sizes: list[int] = []
    add = inboxes.add

    def counting(messages: list[bytes], people: list[int], subscription: int) -> None:
        sizes.append(len(messages) * len(people))
        add(messages, people, subscription)

    monkeypatch.setattr(inboxes, "add", counting)
    number = group(*[person(f"p{n}") for n in range(3)])
    assert kinds(deliver(works(stored(5), group=number))) == ["delivered"] * 5
    assert sizes == [6, 6, 3]
    assert len(items()) == 15


def test_a_message_that_is_gone_by_now_does_not_hold_back_the_others() -> None:
    ada = person("ada")
    here = stored(1)
    deliver(works([ids.new(), *here], user="ada@example.org"))
    assert items() == {(ada, here[0])}


def test_cleanup_takes_items_with_their_messages() -> None:
    ada = person("ada")
    old = [ids.floor(clock.now() - timedelta(days=100))]
    now = clock.now()
    Message.insert(
        id=old[0], client_id="acme", topic="orders", priority=2, status="delivered", created_at=now - timedelta(days=100),
        stored_at=now, size=1, data_key_id=bytes(16), payload=bytes(60),
    ).execute()  # fmt: skip
    new = stored(1, status="delivered")
    deliver(works(old + new, user="ada@example.org"))
    assert len(items()) == 2
    retention.cleanup(SETTINGS, days=90)
    assert items() == {(ada, new[0])}


def test_what_is_said_of_an_inbox() -> None:
    for wrong in ({}, {"user": "a@b.c", "group": 1}, {"user": "x"}, {"group": 0}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, InboxConfig)


@pytest.mark.parametrize("database", ["mariadb", "mysql"], indirect=True)
def test_many_workers_at_once_put_each_message_in_once(database: pw.Database) -> None:
    """Overlapping batches in different orders, while statuses of the same messages are written: nobody waits in a circle."""
    number = group(*[person(f"p{n}") for n in range(20)])
    messages = stored(60)
    begin = threading.Barrier(5)

    def run(seed: int) -> list[str]:
        mine = messages[seed * 5 :] + messages[: seed * 5]
        begin.wait(10)
        return kinds(deliver(works(mine, group=number, subscription=seed)))

    def statuses() -> list[str]:
        begin.wait(10)
        try:
            for _ in range(20):
                with writing():
                    list(Message.select(Message.id).where(Message.id.in_(messages)).order_by(Message.id).for_update())
                    Message.update(attempts=Message.attempts + 1).where(Message.id.in_(messages)).execute()
        finally:
            give_up_connection()
        return []

    with ThreadPoolExecutor(5) as threads:
        futures = [threads.submit(run, seed) for seed in range(4)] + [threads.submit(statuses)]
        found = [kind for future in futures for kind in future.result(60)]
    assert found == ["delivered"] * 240
    assert InboxItem.select().count() == 20 * 60
