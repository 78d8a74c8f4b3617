from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peewee as pw
import pytest
from pydantic import SecretStr
from support.installed import quiet, url_of
from support.mail import MailServer
from support.subscribing import subscribe

from messagebroker.db.models import Subscription
from messagebroker.ops import clock, doctor, doctor_deliveries, resolver
from messagebroker.settings import Settings


@pytest.fixture
def settings(settings: Settings, database: pw.Database) -> Settings:
    """Of the database that the test has."""
    url = url_of(database)
    return settings.model_copy(update={"database_url": url and SecretStr(url)})


def found(settings: Settings) -> list[tuple[str, str]]:
    return [(finding.level, finding.text) for finding in doctor_deliveries.check(settings)]


def webhook(url: str) -> int:
    return subscribe(["*"], channel="webhook", config={"url": url})


def knows(*names: str) -> Callable[[str], list[str]]:
    def look_up(host: str) -> list[str]:
        if host not in names:
            raise socket.gaierror(-2, "unknown")
        return ["192.0.2.1"]

    return look_up


def test_nothing_to_deliver_is_nothing_to_look_at(settings: Settings) -> None:
    assert found(settings) == []
    assert doctor.CHECKS["deliveries"] is doctor_deliveries.check


def test_subscriptions_by_email_need_a_mail_server(settings: Settings) -> None:
    number = subscribe(["*"], channel="email", config={"to": ["a@example.org"]})
    assert found(settings) == [("error", "SMTP_HOST is not set, so 1 subscriptions by e-mail deliver nothing")]
    Subscription.update(disabled_at=clock.now()).where(Subscription.id == number).execute()
    assert found(settings) == []


def test_the_mail_server_is_asked_and_gets_no_mail(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def given(server: MailServer, **more: Any) -> Settings:
        return settings.model_copy(update=dict(server.settings(tmp_path, **more)) | {"database_url": settings.database_url})

    with MailServer(tmp_path, "starttls", password="hunter2") as server:
        right = {"smtp_user": "broker", "smtp_password": "hunter2"}
        [(level, text)] = found(given(server, **right))
        assert (level, "certificate verify failed" in text) == ("error", True)
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca))
        [(level, text)] = found(given(server, **right))
        assert (level, text) == ("ok", f"the mail server localhost:{server.port} (SMTP_HOST, SMTP_PORT) takes us")
        [(level, text)] = found(given(server, **right | {"smtp_password": "wrong"}))
        assert level == "error"
        assert "does not take us" in text
        gone = given(server, **right)
        assert server.taken == []
    [(level, text)] = found(gone)
    assert level == "error"


@pytest.mark.parametrize(
    ("known", "level", "text"),
    [
        (("shop.example",), "ok", "names of webhooks have addresses (shop.example)"),
        ((), "error", "no name of a webhook has an address here within 5 s (other.example, shop.example)"),
    ],
)
def test_names_of_webhooks(
    settings: Settings, known: tuple[str, ...], level: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "by_system", knows(*known))
    webhook("https://192.0.2.7/hook")
    assert found(settings) == []
    webhook("https://shop.example/hook")
    webhook("https://other.example/hook")
    assert found(settings) == [(level, text)]


def test_a_name_server_that_hangs_ends_the_check(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()

    def look_up(host: str) -> list[str]:
        free.wait(5)
        return []

    monkeypatch.setattr(resolver, "by_system", look_up)
    monkeypatch.setattr(doctor_deliveries, "_SECONDS", 0.05)
    webhook("https://shop.example/hook")
    [(level, _)] = found(settings)
    free.set()
    assert level == "error"


def test_without_a_database_its_own_check_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(settings: Settings) -> Any:
        raise pw.OperationalError("gone away")

    monkeypatch.setattr(doctor_deliveries, "open_database", gone)
    assert found(quiet(tmp_path)) == []
