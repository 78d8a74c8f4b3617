"""Signing requests: only the key in them counts, and only when it is theirs and strong enough."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA224
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.certs import Authority
from support.pki import installed
from support.requests import for_the_key_of, signing_request, with_broken_signature
from support.serving import Serving

from messagebroker.errors import Refused
from messagebroker.ops import certificates, pki, signing
from messagebroker.ops.ca_folder import CaFolder
from messagebroker.ops.csr import WrongRequest
from messagebroker.ops.identity import peer_of_certificate
from messagebroker.ops.pair_files import PairFiles
from messagebroker.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return installed(tmp_path, "redis://127.0.0.1:1/0")


def spki(key: Any) -> bytes:
    made: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return made


def test_what_a_request_asks_for_beside_its_key_is_ignored(settings: Settings) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = signing_request(key, name="proxy", uri="urn:messagebroker:component:proxy", ca=True)
    issued = signing.sign_request(settings, "acme", pem, 10)
    certificate = pki.load_certificate(issued.pem.encode())
    peer = peer_of_certificate(certificate)
    assert (peer.kind, peer.name) == ("client", "acme")
    assert spki(certificate.public_key()) == spki(key.public_key())
    assert issued.domains == ()
    assert issued.days_left == 9
    extensions = certificate.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert [one.serial for one in CaFolder(settings).issued() if one.name == "acme"] == [issued.serial], "it can be revoked"


def test_a_request_must_be_signed_by_its_own_key(settings: Settings) -> None:
    good, other = signing_request(), signing_request()
    for attack in (with_broken_signature(good), for_the_key_of(other, good)):
        with pytest.raises(WrongRequest, match="not by its key"):
            signing.sign_request(settings, "acme", attack)
    assert [one.name for one in CaFolder(settings).issued()] == ["policy"]


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-256", "P-384", "RSA 2048"],
)
def test_senders_keys_that_are_taken_work_over_tls(settings: Settings, tmp_path: Path, key: Any) -> None:
    issued = signing.sign_request(settings, "acme", signing_request(key))
    authority = Authority.of(CaFolder(settings).ca, tmp_path / "tls")
    authority.component("proxy")
    shown = authority.client("unused", file="mine")
    shown.crt.write_text(issued.pem, encoding="ascii")
    shown.key.write_bytes(pki.key_pem(key))
    with Serving(tmp_path / "data", authority=authority) as server:
        assert server.ask(shown).json()["peer"] == "client:acme"


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (rsa.generate_private_key(65537, 1024), "RSA key of 1024 bits"),
        (rsa.generate_private_key(3, 2048), "exponent"),
        (ec.generate_private_key(ec.SECP224R1()), "of this kind"),
        (ec.generate_private_key(ec.SECP256K1()), "of this kind"),
        (ec.generate_private_key(ec.BrainpoolP256R1()), "of this kind"),
    ],
    ids=["RSA 1024", "RSA with e=3", "P-224", "secp256k1", "brainpool"],
)
def test_weak_and_unknown_keys_are_refused(settings: Settings, key: Any, why: str) -> None:
    with pytest.raises(WrongRequest, match=why):
        signing.sign_request(settings, "acme", signing_request(key))


def test_an_edwards_key_and_an_outdated_hash_are_refused(settings: Settings) -> None:
    subject = x509.Name([])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    edwards = builder.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(Encoding.PEM)
    with pytest.raises(WrongRequest, match="of this kind"):
        signing.sign_request(settings, "acme", edwards)
    with pytest.raises(WrongRequest, match="outdated hash"):
        signing.sign_request(settings, "acme", signing_request(algorithm=SHA224()))


@pytest.mark.parametrize(
    "pem", [b"", b"\x00\xff", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"]
)
def test_what_is_no_request_is_refused(settings: Settings, pem: bytes) -> None:
    with pytest.raises(WrongRequest, match="no signing request"):
        signing.sign_request(settings, "acme", pem)
    with pytest.raises(WrongRequest, match="up to"):
        signing.sign_request(settings, "acme", signing_request() + b"\n" * 20_000)


@pytest.mark.parametrize(
    ("name", "kind"), [("proxy", "client"), ("ca", "client"), ("con.x", "client"), ("A", "client"), ("policy", "component")]
)
def test_nobody_gets_a_reserved_name(settings: Settings, name: str, kind: str) -> None:
    with pytest.raises(Refused):
        signing.sign_request(settings, name, signing_request(), kind=kind)


def test_a_components_key_is_one_that_this_program_loads(settings: Settings) -> None:
    with pytest.raises(WrongRequest, match="ECDSA"):
        signing.sign_request(settings, "proxy", signing_request(rsa.generate_private_key(65537, 2048)), kind="component")
    issued = signing.sign_request(settings, "proxy", signing_request(), kind="component", domains=["localhost"])
    assert (issued.kind, issued.domains) == ("component", ("localhost",))


# files


def test_issue_and_renew_for_a_request_write_no_key(settings: Settings, tmp_path: Path) -> None:
    bundle = certificates.issue(settings, "acme", csr_pem=signing_request(), out=tmp_path / "out")
    assert bundle.key is None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["acme.crt", "ca.crt"]
    before = bundle.certificate.read_bytes()
    certificates.renew(settings, "acme", csr_pem=signing_request(), out=tmp_path / "out")
    assert bundle.certificate.read_bytes() != before
    certificates.issue(settings, "other")
    with pytest.raises(Refused, match=r"other\.key is there"):
        certificates.renew(settings, "other", csr_pem=signing_request())


def test_a_replacement_that_was_interrupted_is_ended_or_forgotten(settings: Settings, tmp_path: Path) -> None:
    bundle = certificates.issue(settings, "proxy", kind="component")
    assert bundle.key is not None
    files = PairFiles(bundle.certificate.parent, "proxy")
    old = bundle.certificate.read_bytes(), bundle.key.read_bytes()
    certificates.renew(settings, "proxy", out=tmp_path / "new")
    new = (tmp_path / "new" / "proxy.crt").read_bytes(), (tmp_path / "new" / "proxy.key").read_bytes()
    marker = files.folder / ".proxy.crt.next-1"
    marker.write_bytes(new[0])  # died before the key
    files.finish()
    assert marker.exists(), "another process may be about to go on"
    os.utime(marker, (1, 1))
    files.finish()
    assert (bundle.certificate.read_bytes(), bundle.key.read_bytes()) == old
    assert not marker.exists()
    marker.write_bytes(new[0])
    files.key.write_bytes(new[1])  # died before the certificate
    files.finish()
    assert (bundle.certificate.read_bytes(), bundle.key.read_bytes()) == new
    assert not marker.exists()
    files.finish()
