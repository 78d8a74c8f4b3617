"""`certs …`: issuing, renewing, revoking, with and without the database and Redis."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import peewee as pw
import pytest
import redis as redis_py
from cryptography import x509
from support.pki import installed, peer
from support.servers import free_port

from messagebroker.db import connection
from messagebroker.db.models import Certificate, Client
from messagebroker.errors import BrokerError, ConfigurationError, NotFound, Refused, Unavailable
from messagebroker.ops import certificates, clock, pki, policy
from messagebroker.ops.ca_folder import CaFolder
from messagebroker.ops.private_files import is_private
from messagebroker.ops.redis_client import POLICY
from messagebroker.ops.snapshot import Policy, sign, verify
from messagebroker.settings import Settings, load

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A CA whose database and Redis do not answer."""
    monkeypatch.setattr(connection.database, "obj", None)
    return installed(tmp_path, NOWHERE, database_url=f"mysql://nobody:x@127.0.0.1:{free_port()}/none")


@pytest.fixture
def online(tmp_path: Path, redis_url: str, database: pw.Database) -> Settings:
    """A CA with a database and Redis."""
    return installed(tmp_path, redis_url)


def published(settings: Settings) -> Policy:
    with redis_py.Redis.from_url(settings.redis) as client:
        snapshot = client.get(POLICY)
    assert isinstance(snapshot, bytes)
    return verify(snapshot, CaFolder(settings).ca.certificate)


# the CA


def test_the_ca_is_made_once(alone: Settings) -> None:
    folder = CaFolder(alone)
    before = {path: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    with pytest.raises(Refused, match="there is a CA"):
        certificates.init_ca(alone)
    assert {path: path.read_bytes() for path in folder.path.iterdir() if path.is_file()} == before
    assert is_private(folder.path / "ca.key")
    assert is_private(folder.path / "policy.key")
    assert (alone.path(alone.certs_dir) / "ca.crt").read_bytes() == folder.ca.certificate_pem


def test_an_interrupted_beginning_goes_on(alone: Settings) -> None:
    folder = CaFolder(alone)
    key = (folder.path / "ca.key").read_bytes()
    (folder.path / "ca.crt").unlink()
    shutil.rmtree(alone.path(alone.certs_dir))
    certificates.init_ca(alone)
    assert (folder.path / "ca.key").read_bytes() == key
    assert CaFolder(alone).signer()


def test_without_a_ca_it_is_said_how_to_make_one(tmp_path: Path) -> None:
    settings = load({}, data_dir=tmp_path, environment="test")
    with pytest.raises(ConfigurationError, match="certs init-ca"):
        certificates.issue(settings, "acme")


def test_a_ca_key_that_does_not_belong_is_refused(alone: Settings) -> None:
    (CaFolder(alone).path / "ca.key").write_bytes(pki.key_pem(pki.new_key()))
    with pytest.raises(ConfigurationError, match=r"ca\.crt and \.key.*does not belong"):
        certificates.issue(alone, "acme")


# issuing


def test_a_bundle_is_three_files_ready_to_hand_over(alone: Settings) -> None:
    bundle = certificates.issue(alone, "acme", days=30)
    folder = alone.path(alone.certs_dir)
    assert (bundle.certificate, bundle.key, bundle.ca) == (folder / "acme.crt", folder / "acme.key", folder / "ca.crt")
    assert is_private(bundle.key)
    pair = pki.Pair.parse(bundle.certificate.read_bytes(), bundle.key.read_bytes())
    pki.check_signed_by(pki.load_certificate(bundle.ca.read_bytes()), pair.certificate)
    assert (peer(bundle).kind, peer(bundle).name) == ("client", "acme")
    assert peer(bundle).not_after - datetime.now(UTC) <= timedelta(days=30)
    assert "not in the database yet" in bundle.notes[0]


def test_a_component_is_good_for_this_machine_and_the_domains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection.database, "obj", None)
    settings = installed(tmp_path, NOWHERE, primary_domain="broker.example.org")
    bundle = certificates.issue(settings, "proxy", kind="component", domains=["proxy.example.org", "10.1.2.3"])
    assert set(bundle.issued.domains) == {
        "localhost", "127.0.0.1", "::1", "broker.example.org", "proxy.example.org", "10.1.2.3",
    }  # fmt: skip
    assert peer(bundle).kind == "component"


def test_nothing_is_overwritten(alone: Settings) -> None:
    bundle = certificates.issue(alone, "acme")
    before = (bundle.certificate.read_bytes(), bundle.key.read_bytes())
    with pytest.raises(Refused, match="certs renew acme"):
        certificates.issue(alone, "acme")
    assert (bundle.certificate.read_bytes(), bundle.key.read_bytes()) == before
    assert len(certificates.show(alone, "acme")) == 1


def test_a_key_without_its_certificate_is_used_not_replaced(alone: Settings) -> None:
    bundle = certificates.issue(alone, "acme")
    key = bundle.key.read_bytes()
    bundle.certificate.unlink()
    again = certificates.issue(alone, "acme")
    assert again.key.read_bytes() == key
    assert pki.Pair.parse(again.certificate.read_bytes(), key)


def test_another_folder(alone: Settings, tmp_path: Path) -> None:
    certificates.issue(alone, "acme")
    bundle = certificates.issue(alone, "acme", out=tmp_path / "usb")
    assert sorted(path.name for path in (tmp_path / "usb").iterdir()) == ["acme.crt", "acme.key", "ca.crt"]
    assert bundle.issued.serial in {one.serial for one in certificates.show(alone, "acme")}
    assert len(certificates.show(alone, "acme")) == 2


def test_a_folder_of_another_ca_is_left_alone(alone: Settings, tmp_path: Path) -> None:
    (tmp_path / "usb").mkdir()
    (tmp_path / "usb" / "ca.crt").write_bytes(pki.make_ca(pki.new_key(), "Another").certificate_pem)
    with pytest.raises(Refused, match="another CA"):
        certificates.issue(alone, "acme", out=tmp_path / "usb")
    assert [path.name for path in (tmp_path / "usb").iterdir()] == ["ca.crt"]


@pytest.mark.parametrize("name", ["ca", "ca.backup", "con", "lpt1.x", "../acme", "Acme", "", "main", "policy", "a/b", "a\n"])
def test_names_that_no_client_can_have(alone: Settings, name: str) -> None:
    refused(alone, name, "client")


@pytest.mark.parametrize(("name", "kind"), [("policy", "component"), ("acme", "component"), ("acme", "person")])
def test_holders_that_cannot_be(alone: Settings, name: str, kind: str) -> None:
    refused(alone, name, kind)


def refused(settings: Settings, name: str, kind: str) -> None:
    before = sorted(settings.data_dir.rglob("*"))
    with pytest.raises(Refused):
        certificates.issue(settings, name, kind=kind)
    assert sorted(settings.data_dir.rglob("*")) == before


def test_a_wrong_domain_leaves_nothing_behind(alone: Settings) -> None:
    before = sorted(alone.data_dir.rglob("*"))
    with pytest.raises(Refused, match="neither a host name"):
        certificates.issue(alone, "acme", domains=["not a domain"])
    assert sorted(alone.data_dir.rglob("*")) == before


# renewing


def test_renewing_keeps_the_identity_and_changes_the_key(alone: Settings) -> None:
    first = certificates.issue(alone, "proxy", kind="component", domains=["proxy.example.org"])
    old_peer, old_key = peer(first), first.key.read_bytes()
    second = certificates.renew(alone, "proxy", days=30)
    assert second.certificate == first.certificate
    assert (peer(second).kind, peer(second).name) == (old_peer.kind, old_peer.name)
    assert peer(second).serial != old_peer.serial
    assert set(second.issued.domains) == set(first.issued.domains)
    assert second.key.read_bytes() != old_key
    assert is_private(second.key)
    assert pki.Pair.parse(second.certificate.read_bytes(), second.key.read_bytes())
    assert [one.status for one in certificates.show(alone, "proxy")] == ["valid", "valid"]


def test_an_expired_one_is_renewed(alone: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates.issue(alone, "acme", days=1)
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(days=2))
    assert [one.status for one in certificates.show(alone, "acme")] == ["expired"]
    assert certificates.renew(alone, "acme").issued.status == "valid"


def test_a_bundle_that_was_handed_over_is_renewed_into_a_folder(alone: Settings, tmp_path: Path) -> None:
    bundle = certificates.issue(alone, "acme")
    for path in (bundle.certificate, bundle.key):
        path.unlink()
    assert certificates.renew(alone, "acme", out=tmp_path / "usb").key.exists()


def test_nobody_and_the_revoked_are_not_renewed(alone: Settings) -> None:
    with pytest.raises(NotFound, match="no certificate was issued to 'acme'"):
        certificates.renew(alone, "acme")
    certificates.issue(alone, "acme")
    with pytest.raises(Unavailable):
        certificates.revoke(alone, "acme", "stolen")
    with pytest.raises(Refused, match="was revoked"):
        certificates.renew(alone, "acme")
    with pytest.raises(Refused, match="renews itself"):
        certificates.renew(alone, "policy")


# with the database and Redis


def test_issuing_registers_the_client_and_tells_the_servers(online: Settings) -> None:
    bundle = certificates.issue(online, "acme")
    assert bundle.notes == ()
    row = Certificate.get_by_id(bundle.issued.serial)
    assert (row.name, row.kind, row.not_after, row.revoked_at) == ("acme", "client", bundle.issued.not_after, None)
    assert Client.get_by_id("acme").default_topic == "messages"
    assert set(published(online).clients) == {"acme"}


def test_a_component_is_no_client(online: Settings) -> None:
    bundle = certificates.issue(online, "proxy", kind="component")
    assert Certificate.get_by_id(bundle.issued.serial).kind == "component"
    assert Client.select().count() == 0


def test_what_was_issued_before_the_database_was_there_is_registered_once(online: Settings) -> None:
    bundle = certificates.issue(online, "acme")
    Certificate.delete().execute()
    Client.delete().execute()
    assert certificates.register_issued(online) is True
    assert certificates.register_issued(online) is False
    assert Certificate.select().where(Certificate.serial == bundle.issued.serial).count() == 1
    Client.delete().execute()
    assert certificates.register_issued(online) is False
    assert Client.select().count() == 0, "a client that somebody removed stays removed"


def test_revoking_is_published_when_it_returns(online: Settings) -> None:
    first, other = certificates.issue(online, "acme"), certificates.issue(online, "other")
    second = certificates.renew(online, "acme")
    number = certificates.revoke(online, "acme", "stolen")
    snapshot = published(online)
    assert snapshot.number == number
    assert snapshot.revoked == {first.issued.serial, second.issued.serial}
    assert other.issued.serial not in snapshot.revoked
    row = Certificate.get_by_id(first.issued.serial)
    assert (row.revoked_reason, row.revoked_at.tzinfo) == ("stolen", UTC)
    assert [one.status for one in certificates.show(online, "acme")] == ["revoked", "revoked"]


def test_one_certificate_of_several_is_revoked_by_its_serial(online: Settings) -> None:
    first = certificates.issue(online, "acme")
    second = certificates.renew(online, "acme")
    certificates.revoke(online, "acme", "old laptop", serial=first.issued.serial)
    assert published(online).revoked == {first.issued.serial}
    with pytest.raises(NotFound, match="serial ffff"):
        certificates.revoke(online, "acme", serial="ffff")
    assert certificates.renew(online, "acme").issued.serial != second.issued.serial


def test_revoking_nobody_is_an_error(online: Settings) -> None:
    with pytest.raises(NotFound):
        certificates.revoke(online, "acme")


def test_a_revoked_client_comes_back_with_a_new_certificate_only(online: Settings, tmp_path: Path) -> None:
    old = certificates.issue(online, "acme")
    certificates.revoke(online, "acme")
    new = certificates.issue(online, "acme", out=tmp_path / "new")
    snapshot = published(online)
    assert old.issued.serial in snapshot.revoked
    assert new.issued.serial not in snapshot.revoked


def test_a_revocation_without_redis_is_kept_said_and_repeatable(online: Settings) -> None:
    bundle = certificates.issue(online, "acme")
    cut_off = load({}, data_dir=online.data_dir, environment="test", redis_url=NOWHERE)
    with pytest.raises(Unavailable, match="acme is revoked in the CA's folder, but the servers do not know it yet"):
        certificates.revoke(cut_off, "acme", "stolen")
    assert Certificate.get_by_id(bundle.issued.serial).revoked_reason == "stolen"
    assert policy.publish_if_changed(online) == published(online).number
    assert bundle.issued.serial in published(online).revoked
    first_time = certificates.show(online, "acme")[0].revoked_at
    certificates.revoke(online, "acme", "again")
    (found,) = certificates.show(online, "acme")
    assert (found.revoked_at, found.revoked_reason) == (first_time, "stolen")


def test_a_revocation_without_the_database_reaches_the_servers_and_later_the_database(
    online: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = certificates.issue(online, "acme")
    before = published(online)
    with monkeypatch.context() as broken:
        broken.setattr(connection.database, "obj", None)
        dead = f"mysql://nobody:x@127.0.0.1:{free_port()}/none"
        cut_off = load({}, data_dir=online.data_dir, environment="test", redis_url=online.redis, database_url=dead)
        number = certificates.revoke(cut_off, "acme", "stolen")
    snapshot = published(online)
    assert number == snapshot.number > before.number
    assert snapshot.revoked == {bundle.issued.serial}
    assert snapshot.clients == before.clients
    assert certificates.register_issued(online) is True
    assert Certificate.get_by_id(bundle.issued.serial).revoked_reason == "stolen"


def test_a_revoked_policy_signer_is_replaced(online: Settings) -> None:
    certificates.issue(online, "acme")
    old = CaFolder(online).signer()
    certificates.revoke(online, "policy", "copied")
    new = CaFolder(online).signer()
    assert new.certificate != old.certificate
    assert x509.load_pem_x509_certificate(new.certificate_pem) == new.certificate
    forged = sign(published(online), old)
    with pytest.raises(Refused, match="revoked"):
        verify(forged, CaFolder(online).ca.certificate)
    assert policy.publish(online)


def test_the_signer_renews_itself_before_its_end(online: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CaFolder(online)
    old = folder.signer()
    assert folder.signer().certificate == old.certificate
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(days=pki.LEAF_DAYS - 29))
    assert folder.signer().certificate != old.certificate


def test_the_revocation_list_names_what_was_revoked(online: Settings) -> None:
    acme, other = certificates.issue(online, "acme"), certificates.issue(online, "other")
    certificates.revoke(online, "acme")
    found = x509.load_pem_x509_crl(certificates.crl(online))
    assert found.get_revoked_certificate_by_serial_number(int(acme.issued.serial, 16)) is not None
    assert found.get_revoked_certificate_by_serial_number(int(other.issued.serial, 16)) is None


def test_a_damaged_record_of_a_revocation_still_revokes(online: Settings) -> None:
    bundle = certificates.issue(online, "acme")
    certificates.revoke(online, "acme")
    (CaFolder(online).path / "issued" / f"{bundle.issued.serial}.revoked").write_bytes(b"\x00")
    assert certificates.show(online, "acme")[0].status == "revoked"


def test_a_damaged_copy_is_named(online: Settings) -> None:
    bundle = certificates.issue(online, "acme")
    path = CaFolder(online).path / "issued" / f"{bundle.issued.serial}.crt"
    path.write_bytes(b"")
    with pytest.raises(BrokerError, match=path.name):
        certificates.list_all(online)
