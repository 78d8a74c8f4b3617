"""Who is told that a certificate ends, when, and how often."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import peewee as pw
import pytest
from support.cast import audited
from support.pki import installed

from messagebroker.db.models import Certificate, CertificateWarning, Client, User
from messagebroker.errors import Refused
from messagebroker.ops import certificate_warnings, certificates, clock, mail
from messagebroker.ops.ca_folder import CaFolder
from messagebroker.ops.certificate_warnings import CertificateWarnings
from messagebroker.ops.metrics import CERTIFICATE_EXPIRES
from messagebroker.settings import Settings


@pytest.fixture
def settings(database: pw.Database, tmp_path: Path) -> Settings:
    return installed(tmp_path, "redis://127.0.0.1:1/0")


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Moves the clock so many days on."""
    begin = clock.now()

    def move(days: float) -> datetime:
        moment = begin + timedelta(days=days)
        monkeypatch.setattr(clock, "now", lambda: moment)
        return moment

    return move


class Mails(list[tuple[str, str, str]]):
    broken: str | None = None

    def __call__(self, settings: Settings, to: str, subject: str, text: str) -> None:
        if self.broken == to:
            raise OSError("mail server is away")
        self.append((to, subject, text))


def steps(serial: str) -> list[int]:
    return [json.loads(row.details)["step"] for row in audited("certificate.expires") if row.object_id == serial]


def person(email: str, role: str = "user", **more: Any) -> None:
    User.insert(email=email, role=role, password_hash="x", created_at=clock.now(), must_change_password=False, **more).execute()


def test_each_step_is_told_once_whoever_asks_how_often(settings: Settings, at: Any) -> None:
    serial = certificates.issue(settings, "acme", days=100).issued.serial
    mains = [CertificateWarnings(settings, Mails()) for _ in range(2)]
    expected: list[int] = []
    for day, step in ((69.9, None), (70.1, 30), (80, None), (86.5, 14), (93.5, 7), (99.5, 1), (100.5, None)):
        at(day)
        for _ in range(2):
            for main in mains:
                main.round()
        expected += [step] if step else []
        assert steps(serial) == expected, day
    assert [row.days for row in CertificateWarning.select().order_by(CertificateWarning.days)] == [1, 7, 14, 30]
    details = json.loads(audited("certificate.expires")[0].details)
    assert details["holder"] == "client:acme"


def test_who_was_off_for_long_is_told_the_step_that_counts(settings: Settings, at: Any) -> None:
    serial = certificates.issue(settings, "acme", days=100).issued.serial
    at(95)
    CertificateWarnings(settings, Mails()).round()
    assert steps(serial) == [7]


def test_who_has_renewed_or_may_not_send_is_left_in_peace(settings: Settings, at: Any) -> None:
    for name in ("renewed", "revoked", "disabled", "active"):
        certificates.issue(settings, name, days=100)
    certificates.renew(settings, "renewed", days=200)
    Certificate.update(revoked_at=clock.now()).where(Certificate.name == "revoked").execute()
    Client.update(disabled_at=clock.now()).where(Client.name == "disabled").execute()
    at(80)
    mails = Mails()
    person("root@example.org", "admin")
    CertificateWarnings(settings, mails).round()
    assert [subject for _, subject, _ in mails] == ["Message Broker: the certificate of active ends in 20 days"]
    certificate_warnings.show(settings)
    shown = {tuple(sample.labels.values()): sample.value for sample in CERTIFICATE_EXPIRES.collect()[0].samples}
    assert list(shown) == [("client", "active")]
    assert 19.9 * 86_400 < shown["client", "active"] < 20.1 * 86_400


def test_the_owner_is_told_or_the_admins_where_there_is_none(settings: Settings, at: Any) -> None:
    for name in ("owned", "orphan", "of-nobody-now"):
        certificates.issue(settings, name, days=10)
    certificates.issue(settings, "proxy", "component", days=10)
    person("ada@example.org")
    person("gone@example.org", disabled_at=clock.now())
    person("root@example.org", "admin")
    person("old-root@example.org", "admin", disabled_at=clock.now())
    Client.update(owner="ada@example.org").where(Client.name == "owned").execute()
    Client.update(owner="gone@example.org").where(Client.name == "of-nobody-now").execute()
    certificates.register_issued(settings)
    mails = Mails()
    CertificateWarnings(settings, mails).round()
    told = {subject.split()[5]: to for to, subject, _ in mails}
    admin = "root@example.org"
    assert told == {"owned": "ada@example.org", "orphan": admin, "of-nobody-now": admin, "proxy": admin}
    [text] = [text for _, subject, text in mails if "proxy" in subject]
    assert "messagebroker setup" in text


def test_a_mail_that_could_not_be_sent_is_sent_later_and_once(settings: Settings, at: Any) -> None:
    certificates.issue(settings, "acme", days=10)
    for name in ("one", "two"):
        person(f"{name}@example.org", "admin")
    mails = Mails()
    mails.broken = "one@example.org"
    warnings = CertificateWarnings(settings, mails)
    warnings.round()
    assert len(audited("certificate.expires")) == 1
    assert [to for to, _, _ in mails] == ["two@example.org"]
    mails.broken = None
    for minutes in (1, 11, 21):
        at(minutes / 1440)
        warnings.round()
    assert sorted(to for to, _, _ in mails) == ["one@example.org", "two@example.org"]
    assert len(audited("certificate.expires")) == 1


def test_a_main_that_ends_between_row_and_mail_loses_none(settings: Settings, at: Any) -> None:
    class Ended(BaseException):
        """The process is no more."""

    def end(*_: Any) -> None:
        raise Ended

    certificates.issue(settings, "acme", days=10)
    person("root@example.org", "admin")
    with pytest.raises(Ended):
        CertificateWarnings(settings, end).round()
    mails = Mails()
    for minutes in (1, 11, 21):
        at(minutes / 1440)
        for _ in range(2):
            CertificateWarnings(settings, mails).round()
    assert [to for to, _, _ in mails] == ["root@example.org"]
    assert len(audited("certificate.expires")) == 1


def test_who_the_mail_server_will_not_have_is_not_tried_for_ever(settings: Settings, at: Any) -> None:
    tried = []

    def refuse(settings: Settings, to: str, *_: str) -> None:
        tried.append(to)
        raise Refused("the mail server will not have this recipient")

    certificates.issue(settings, "acme", days=10)
    person("root@example.org", "admin")
    for minutes in (1, 11, 21):
        at(minutes / 1440)
        CertificateWarnings(settings, refuse).round()
    assert tried == ["root@example.org"]


def test_the_end_of_the_ca_is_told_as_any_other(settings: Settings, at: Any) -> None:
    ends = CaFolder(settings).ca.certificate.not_valid_after_utc
    days = (ends - clock.now()) / timedelta(days=1)
    person("root@example.org", "admin")
    mails = Mails()
    for left in (40, 29.9, 20, 13.9, 6.9, 0.9):
        at(days - left)
        CertificateWarnings(settings, mails).round()
    assert [json.loads(row.details)["step"] for row in audited("certificate.expires")] == [30, 14, 7, 1]
    assert {json.loads(row.details)["holder"] for row in audited("certificate.expires")} == {"ca:ca"}
    assert [subject for _, subject, _ in mails][-1] == "Message Broker: the certificate of the CA ends in 1 day"
    assert "for every component and every client" in mails[0][2]
    certificate_warnings.show(settings)
    shown = {tuple(sample.labels.values()): sample.value for sample in CERTIFICATE_EXPIRES.collect()[0].samples}
    assert list(shown) == [("ca", "ca")]


def test_mail_is_sent_where_a_server_is_configured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates.issue(settings, "acme", days=10)
    person("root@example.org", "admin")
    mails = Mails()
    monkeypatch.setattr(mail, "send", mails)
    CertificateWarnings(settings).round()
    assert mails == []
    CertificateWarning.delete().execute()
    CertificateWarnings(settings.model_copy(update={"smtp_host": "mail.example.org"})).round()
    assert len(mails) == 1
