"""A channel is one file and its registration: here one comes, delivers, and goes again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peewee as pw
import pytest
from support.cast import TEST
from support.closed_breakers import ClosedBreakers
from support.lines_channel import LINES
from support.subscribing import Office, subscribe

from messagebroker.actors.deliveries.claimer import Claimer
from messagebroker.actors.deliveries.engine import Engine
from messagebroker.db.models import Delivery, DeliveryAttempt, User
from messagebroker.ops import clock, subscription_removal, subscriptions
from messagebroker.ops.channels import CHANNELS
from messagebroker.ops.deliveries.routing import Router
from messagebroker.ops.due import database_now
from messagebroker.ops.fields import WrongField
from messagebroker.ops.store import store
from messagebroker.ops.subscription_pages import page
from messagebroker.settings import Settings

pytestmark = pytest.mark.clocked


@contextmanager
def worker(settings: Settings) -> Iterator[Callable[..., bytes]]:
    """One that starts now, and ends; puts messages in."""
    office = Office(settings)
    breakers: Any = ClosedBreakers()
    engine = Engine(settings, office.payloads, b"m" * 16, may_try=lambda *_: True, ended=lambda _: None)
    claimer = Claimer(engine, office.subscriptions, breakers, frozenset)
    router = Router(office.subscriptions, office.payloads, engine)

    def put(body: str, topic: str) -> bytes:
        office.subscriptions.refresh(older_than=0)
        record = office.record(body, topic=topic)
        store([record], office.keys, now=database_now(), router=router)
        return record.id

    engine.start()
    claimer.start()
    try:
        yield put
    finally:
        claimer.stop()
        engine.stop(1)


def status(message: bytes) -> str:
    return str(Delivery.get(Delivery.message == message).status)


def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_fifth_channel_comes_and_goes(
    database: pw.Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lines"
    given = {"name": "file", "channel": "lines", "topics": ["orders.*"], "config": {"path": str(file)}}
    with pytest.raises(WrongField, match="channel"):
        subscriptions.create(settings, given, TEST)
    with monkeypatch.context() as registered:
        registered.setitem(CHANNELS, LINES.name, LINES)
        with pytest.raises(WrongField, match=r"config\.?.*colour"):
            subscriptions.create(settings, {**given, "config": {"path": str(file), "colour": "red"}}, TEST)
        made = subscriptions.create(settings, given, TEST)
        assert (made.details.config, made.signing_secret) == ({"path": str(file)}, None)
        with worker(settings) as put:
            sent = [put(f"number {number}", "orders.new") for number in range(3)]
            until(lambda: {status(one) for one in sent} == {"delivered"})
        assert sorted(file.read_text().splitlines()) == [f"orders.new: number {number}" for number in range(3)]
        assert DeliveryAttempt.select().where(DeliveryAttempt.outcome == "delivered").count() == 3

    User.create(email="ann@example.org", password_hash="x", role="user", created_at=clock.now())
    subscribe(["orders.*", "other"], channel="inbox")
    with worker(settings) as put:
        waits, other = put("waits", "orders.new"), put("other", "other")
        until(lambda: status(other) == "delivered")
        ours = (Delivery.message == waits) & (Delivery.subscription_id == made.details.id)
        assert Delivery.get(ours).status == "pending", "a program that has the channel may come back"
        assert [one.channel for one in page(limit=10)] == ["lines", "inbox"]
        with pytest.raises(WrongField, match="there is no such channel"):
            subscriptions.change(settings, made.details.id, {"name": "other"}, TEST)
        assert subscription_removal.remove(made.details.id, TEST) == 1
        assert Delivery.get(ours).status == "cancelled"
    assert file.read_text().count("\n") == 3
