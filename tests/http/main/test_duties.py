"""Main's whole life in a thread: what it does beside answering, and how that ends."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.servers import free_port
from support.serving import Connection, eventually, request

from messagebroker.actors import ops as jobs
from messagebroker.db.connection import connected, database
from messagebroker.db.models import AuditEntry, AuditSeal, Subscription, User
from messagebroker.http.main import duties, serve
from messagebroker.ops import audit, audit_verify, backup, breaker_events, clock, first_start, sessions, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.tokens import Tokens
from messagebroker.settings import Settings, load

pytestmark = pytest.mark.tier("processes")  # seconds of real waiting


@pytest.fixture
def installed(tmp_path: Path, redis_url: str) -> Iterator[Settings]:
    settings = load({}, data_dir=tmp_path, environment="test", redis_url=redis_url, main_server_port=free_port())
    first_start.set_up(settings)
    yield settings
    database.close()


class Endless:
    """A backup that does not hear of stopping."""

    def __init__(self) -> None:
        self.settings: list[Settings] = []
        self.over = threading.Event()

    def __call__(self, settings: Settings, progress: Any) -> Path:
        self.settings.append(settings)
        self.over.wait(30)
        raise OSError(28, "never mind")


def test_a_request_and_a_job_that_hang_end_together_within_mains_time(
    installed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = Endless()
    monkeypatch.setattr(backup, "create", endless)
    monkeypatch.setattr(duties, "JOBS_SECONDS", 2.0)
    monkeypatch.setattr("messagebroker.http.farewell.BY_NAME", {})
    monkeypatch.setattr("messagebroker.http.farewell.DEFAULT_STOP_SECONDS", 5.0)  # of which requests get 2
    stop = threading.Event()
    main = threading.Thread(target=serve.serve, args=(installed, stop))
    main.start()
    try:
        assert eventually(lambda: answers(installed))
        with connect(installed) as hangs:
            hangs.send(request("/api/v1/auth/login", b"{}" * 100)[:-50])
            jobs.backup.send()
            assert eventually(lambda: bool(endless.settings))
            began = time.monotonic()
            stop.set()
            main.join(10)
            assert 1.5 < time.monotonic() - began < 3.5
    finally:
        stop.set()
        endless.over.set()
        main.join(10)
    assert eventually(lambda: not any("WorkerThread" in type(thread).__name__ for thread in threading.enumerate()))
    assert endless.settings == [installed]
    assert endless.settings[0] is installed, "the jobs have main's settings, and look for none themselves"


def test_main_ends_at_once_when_nothing_is_in_hand(installed: Settings) -> None:
    stop = threading.Event()
    main = threading.Thread(target=serve.serve, args=(installed, stop))
    main.start()
    try:
        assert eventually(lambda: answers(installed))
        began = time.monotonic()
    finally:
        stop.set()
        main.join(10)
    assert time.monotonic() - began < 2.5


def test_main_mails_what_owners_of_subscriptions_are_to_know(installed: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    mails: list[tuple[str, str]] = []
    monkeypatch.setattr(duties, "SUBSCRIPTION_SECONDS", 0.05)
    monkeypatch.setattr("messagebroker.ops.mail.send", lambda settings, to, subject, text: mails.append((to, subject)))
    stop = threading.Event()
    main = threading.Thread(target=serve.serve, args=(installed.model_copy(update={"smtp_host": "mail.example.org"}), stop))
    main.start()
    try:
        assert eventually(lambda: answers(installed))
        users.create("ada@example.org", "user", actor=Actor(name="cli:test"))
        with connected():
            now = clock.now()
            row = {"name": "orders", "channel": "webhook", "topics": "[]", "config": "{}", "created_at": now, "changed_at": now}
            number = Subscription.insert(row | {"owner": "ada@example.org"}).execute()
        breaker_events.change(number, "open", "HTTP 503")
        assert eventually(lambda: bool(mails))
        assert eventually(lambda: breaker_events.warning() is not None)
    finally:
        stop.set()
        main.join(10)
    assert mails == [("ada@example.org", f"Message Broker: the destination of subscription {number} fails")]


def test_main_seals_the_audit_log_while_it_runs_and_sends_all_of_it(installed: Settings) -> None:
    stop = threading.Event()
    main = threading.Thread(target=serve.serve, args=(installed, stop))
    main.start()
    try:
        assert eventually(lambda: answers(installed))
        users.create("ada@example.org", "admin", password="a long enough one 1", actor=Actor(name="cli:test"))
        with connected(), database.atomic():
            for number in range(1500):  # more than an export reads at once
                audit.record("cli:test", "test.act", "thing", str(number))
        written = AuditEntry.select().count()
        assert eventually(lambda: AuditSeal.select().count() == written)
        with connected():
            User.update(must_change_password=False).execute()
            token = sessions.begin(Tokens.load(installed), users.find("ada@example.org")).access
        with connect(installed) as connection:
            headers = f"Authorization: Bearer {token}\r\n"
            sent = connection.ask("/api/v1/audit/export?action=test.act", method="GET", headers=headers)
        assert sent.status == 200
        assert len(sent.body.splitlines()) == 1501
    finally:
        stop.set()
        main.join(10)
    assert AuditSeal.select().count() == AuditEntry.select().count()
    assert audit_verify.verify(installed).good


def answers(settings: Settings) -> bool:
    try:
        with connect(settings) as connection:
            return connection.ask("/health", method="GET").status == 200
    except OSError:
        return False


def connect(settings: Settings) -> Connection:
    context = ssl.create_default_context(cafile=str(settings.path(settings.certs_dir) / "ca.crt"))
    raw = socket.create_connection(("127.0.0.1", settings.main_server_port), timeout=10)
    return Connection(context.wrap_socket(raw, server_hostname="localhost"))
