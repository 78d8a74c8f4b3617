"""Setup hands certificates out, and leaves alone those that a role renewed itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.pki import installed

from messagebroker.ops import certificates, clock, csr, homes, pki, signing
from messagebroker.ops.ca_folder import CaFolder
from messagebroker.ops.pair_files import PairFiles
from messagebroker.settings import Settings


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Settings]:
    monkeypatch.chdir(tmp_path)
    home = homes.main_home(tmp_path)
    settings = installed(home, "redis://127.0.0.1:1/0")
    for role in ("proxy", "worker", "portal", "main"):
        certificates.issue(settings, role, "component", days=60, announce=False)
    homes.hand_out(settings, tmp_path)
    return tmp_path, settings


def copied(settings: Settings, folder: Path) -> list[str]:
    return sorted(change.path.name for change in homes.hand_out(settings, folder) if change.what == "copied from main's home")


def test_setup_keeps_the_certificate_that_a_role_renewed_itself(root: tuple[Path, Settings]) -> None:
    folder, settings = root
    theirs = PairFiles(folder / "proxy" / "certs", "proxy")
    key = pki.new_key()
    names = ("localhost", "127.0.0.1", "::1")
    issued = signing.sign_request(settings, "proxy", csr.request_for(key, "proxy"), 90, "component", domains=names)
    theirs.replace(issued.pem.encode(), pki.key_pem(key))
    assert homes.hand_out(settings, folder) == []
    assert theirs.read().certificate_pem == issued.pem.encode()
    CaFolder(settings).record_revocation(issued.serial, clock.now(), "copied")
    assert copied(settings, folder) == ["proxy.crt", "proxy.key"]
    assert theirs.read().certificate_pem == (homes.main_home(folder) / "certs" / "proxy.crt").read_bytes()


def test_setup_replaces_what_is_not_the_roles(root: tuple[Path, Settings]) -> None:
    """A role that was broken into does not keep what it likes."""
    folder, settings = root
    theirs = PairFiles(folder / "proxy" / "certs", "proxy")
    other = certificates.issue(settings, "monitoring", "component", days=300, announce=False)
    assert other.key is not None
    foreign = pki.make_ca(pki.new_key(), "elsewhere")
    key = pki.new_key()
    forged = pki.make_certificate(foreign, "component", "proxy", key.public_key(), days=300)
    for certificate, private in (
        (other.certificate.read_bytes(), other.key.read_bytes()),
        (pki.certificate_pem(forged), pki.key_pem(key)),
    ):
        theirs.replace(certificate, private)
        assert copied(settings, folder) == ["proxy.crt", "proxy.key"]
        assert theirs.certificate.read_bytes() == (homes.main_home(folder) / "certs" / "proxy.crt").read_bytes()
