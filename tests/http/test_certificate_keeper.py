"""Components renew their certificates at two thirds of their life."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import peewee as pw
import pytest
from support.certs import Authority
from support.pki import installed
from support.scripted import Answer, Asked, Scripted, problem

from messagebroker.errors import Unavailable
from messagebroker.http import certificate_keeper
from messagebroker.http.certificate_keeper import AGAIN_SECONDS, PAUSE_SECONDS, CertificateKeeper, from_own_ca
from messagebroker.http.proxy.certificate import from_main
from messagebroker.ops import certificates, clock, csr, pki, signing
from messagebroker.ops.ca_folder import CaFolder
from messagebroker.ops.pair_files import PairFiles
from messagebroker.settings import Settings, load


@pytest.fixture
def settings(database: pw.Database, tmp_path: Path) -> Settings:
    return installed(tmp_path, "redis://127.0.0.1:1/0")


def aged(settings: Settings, monkeypatch: pytest.MonkeyPatch, role: str, age: float, days: int = 90) -> PairFiles:
    """The role's certificate, issued so many days ago."""
    now = clock.now()
    with monkeypatch.context() as past:
        past.setattr(clock, "now", lambda: now - timedelta(days=age))
        certificates.issue(settings, role, "component", ["main.example.org"], days=days, announce=False)
    return PairFiles(settings.path(settings.certs_dir), role)


def days_of(certificate: pki.x509.Certificate) -> int:
    return (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days


def test_main_renews_from_its_own_ca_in_time_and_not_before(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    files = aged(settings, monkeypatch, "main", 59)
    keeper = CertificateKeeper("main", from_own_ca(settings))
    before = files.read()
    assert keeper.round() == PAUSE_SECONDS
    assert files.read().certificate == before.certificate
    for path in (files.certificate, files.key):
        path.unlink()
    old = aged(settings, monkeypatch, "main", 61).read()
    assert keeper.round() == PAUSE_SECONDS
    new = files.read()
    assert new.certificate.not_valid_before_utc > old.certificate.not_valid_before_utc
    assert pki.public_bytes(new.key.public_key()) != pki.public_bytes(old.key.public_key())
    assert set(pki.domains_of(old.certificate)) <= set(pki.domains_of(new.certificate))
    assert days_of(new.certificate) == 90


def test_a_proxy_asks_main_with_its_present_certificate(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority.of(CaFolder(settings).ca, settings.path(settings.certs_dir))
    authority.component("main")
    files = aged(settings, monkeypatch, "proxy", 61)
    old = files.read()

    def sign(asked: Asked) -> Answer:
        key = csr.public_key_of(asked.json["csr"].encode(), ecdsa_only=True)
        assert not pki.has_key(old.certificate_pem, key), "a new key"
        issued = signing.sign_request(settings, "proxy", asked.json["csr"].encode(), kind="component")
        shown = {"serial": issued.serial, "name": "proxy", "certificate": issued.pem}
        return Answer(201, {**shown, "not_before": issued.not_before.isoformat(), "not_after": issued.not_after.isoformat()})

    with Scripted(authority.folder, problem(422, "invalid-field"), sign, role="main") as main:
        asking = load({}, data_dir=settings.data_dir, environment="test", main_server_url=main.url)
        keeper = CertificateKeeper("proxy", from_main(asking, "proxy"))
        assert keeper.round() == AGAIN_SECONDS
        assert files.read().certificate == old.certificate
        assert keeper.round() == PAUSE_SECONDS
        assert keeper.round() == PAUSE_SECONDS
    assert [(asked.path, asked.peer) for asked in main.asked] == [
        ("/api/v1/components/certificate", "urn:messagebroker:component:proxy")
    ] * 2
    new = files.read()
    pki.check_signed_by(CaFolder(settings).ca.certificate, new.certificate)
    assert new.certificate.not_valid_after_utc > old.certificate.not_valid_after_utc


@pytest.mark.parametrize("error", [OSError(30, "read-only"), Unavailable("no database"), RuntimeError("a mistake of ours")])
def test_trouble_is_logged_and_tried_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[datetime] = []
    monkeypatch.setattr(certificate_keeper, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(certificate_keeper, "AGAIN_SECONDS", 0.01)

    def fail() -> None:
        called.append(clock.now())
        if len(called) >= 3:
            keeper._stop.set()
        raise error

    keeper = CertificateKeeper("proxy", fail)
    keeper.start()
    keeper._thread.join(10)
    assert len(called) == 3
