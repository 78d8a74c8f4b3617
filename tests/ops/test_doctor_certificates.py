from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from support.installed import quiet

from messagebroker.db.connection import open_database
from messagebroker.ops import backup, certificates, clock, doctor_certificates, doctor_files, keyring
from messagebroker.ops.findings import Finding
from messagebroker.settings import Settings

ROLES = ("main", "proxy", "portal")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = quiet(tmp_path)
    open_database(made)  # not that of an earlier test
    keyring.first_secrets(made)
    certificates.init_ca(made)
    for name in ROLES:
        certificates.issue(made, name, kind="component")
    return made


def bad(settings: Settings) -> list[Finding]:
    return [finding for finding in doctor_certificates.check(settings) if finding.level != "ok"]


def only(settings: Settings) -> Finding:
    found = bad(settings)
    assert len(found) == 1, found
    return found[0]


def test_fresh_certificates_are_good(settings: Settings) -> None:
    assert bad(settings) == []
    assert len(list(doctor_certificates.check(settings))) == 4


def test_no_ca(tmp_path: Path) -> None:
    assert "init-ca" in only(quiet(tmp_path)).fix


def test_a_certificate_of_another_ca(settings: Settings, tmp_path: Path) -> None:
    other = quiet(tmp_path / "other")
    keyring.first_secrets(other)
    certificates.init_ca(other)
    certificates.issue(other, "proxy", kind="component")
    for ending in ("crt", "key"):
        (tmp_path / "certs" / f"proxy.{ending}").write_bytes((tmp_path / "other" / "certs" / f"proxy.{ending}").read_bytes())
    found = only(settings)
    assert found.level == "error"
    assert "not issued by this CA" in found.text
    (tmp_path / "certs" / "ca.crt").write_bytes((tmp_path / "other" / "certs" / "ca.crt").read_bytes())
    assert any("is not the CA in" in finding.text for finding in bad(settings))


def test_a_key_that_does_not_match(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "certs" / "main.key").write_bytes((tmp_path / "certs" / "portal.key").read_bytes())
    assert "does not belong to the certificate" in only(settings).text
    assert "certs renew main" in only(settings).fix


def test_a_missing_half(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "certs" / "main.key").unlink()
    assert only(settings).level == "error"
    (tmp_path / "certs" / "main.crt").unlink()
    assert (only(settings).level, "runs on another machine" in only(settings).fix) == ("warning", True)


def test_a_certificate_that_ended_or_ends_soon(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + timedelta(days=350))
    assert [finding.level for finding in bad(settings)] == ["warning"] * 3
    monkeypatch.setattr(clock, "now", lambda: now() + timedelta(days=370))
    assert [finding.level for finding in bad(settings)] == ["error"] * 3
    assert "ended on" in bad(settings)[0].text
    monkeypatch.setattr(clock, "now", lambda: now() - timedelta(days=1))
    assert {finding.fix for finding in bad(settings)} == {"set the clock"}


def test_a_clients_certificate_that_ends_soon(settings: Settings) -> None:
    certificates.issue(settings, "acme", days=20)
    assert "client acme" in only(settings).text
    certificates.renew(settings, "acme")
    assert bad(settings) == []


def test_a_certificate_of_somebody_else(settings: Settings, tmp_path: Path) -> None:
    for ending in ("crt", "key"):
        (tmp_path / "certs" / f"proxy.{ending}").write_bytes((tmp_path / "certs" / f"portal.{ending}").read_bytes())
    assert "stands for component:portal" in only(settings).text


def test_a_revoked_certificate(settings: Settings) -> None:
    from messagebroker.ops.ca_folder import CaFolder

    serial = certificates.show(settings, "proxy")[0].serial
    CaFolder(settings).record_revocation(serial, clock.now(), "test")
    assert "was revoked" in only(settings).text


def test_another_domain(settings: Settings, tmp_path: Path) -> None:
    moved = quiet(tmp_path, primary_domain="broker.example.org")
    assert ["broker.example.org" in finding.text for finding in bad(moved)] == [True] * 3


@pytest.mark.parametrize("name", ["certs/main.key", "ca/ca.key", "ca/policy.key"])
def test_a_private_key_that_others_may_read(settings: Settings, tmp_path: Path, name: str) -> None:
    (tmp_path / name).chmod(0o640)
    assert (only(settings).level, only(settings).fix) == ("error", f"chmod 600 {tmp_path / name}")


# secrets and backups


def test_secrets(settings: Settings, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert [finding.level for finding in doctor_files.secrets(settings)] == ["ok", "ok", "ok", "ok", "warning"]
    tmp_path.chmod(0o700)
    assert {finding.level for finding in doctor_files.secrets(settings)} == {"ok"}
    ring = tmp_path / "secrets" / "encryption.key"
    ring.chmod(0o644)
    assert [finding.level for finding in doctor_files.secrets(settings)] == ["error", "ok", "ok", "ok"]
    ring.chmod(0o600)
    ring.write_text("[]", encoding="utf-8")
    (tmp_path / "secrets" / "recovery.pub").write_text("nonsense", encoding="utf-8")
    (tmp_path / "secrets" / "sender.key").unlink()
    assert [finding.level for finding in doctor_files.secrets(settings)] == ["error", "error", "ok", "error"]


def test_backups(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from messagebroker.db import schema

    assert [finding.level for finding in doctor_files.backups(settings)] == ["warning"]
    schema.upgrade()
    path = backup.create(settings)
    assert [finding.level for finding in doctor_files.backups(settings)] == ["ok"]
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + timedelta(hours=30))
    assert [finding.level for finding in doctor_files.backups(settings)] == ["warning"]
    os.truncate(path, 100)
    assert [finding.level for finding in doctor_files.backups(settings)] == ["error", "warning"]
