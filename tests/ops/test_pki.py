"""Certificates as OpenSSL sees them: what TLS accepts from whom, and what it refuses."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.certs import Authority

from messagebroker.errors import ConfigurationError, Refused
from messagebroker.ops import clock, pki
from messagebroker.ops.identity import Kind, peer_of, serial_of


@pytest.fixture(scope="module")
def ca() -> pki.Pair:
    return pki.make_ca(pki.new_key(), "Example Organisation")


def make(ca: pki.Pair, kind: Kind, name: str, **options: object) -> pki.Pair:
    key = pki.new_key()
    return pki.Pair(pki.make_certificate(ca, kind, name, key.public_key(), **options), key)  # type: ignore[arg-type]


def written(folder: Path, name: str, pair: pki.Pair) -> tuple[str, str]:
    crt, key = folder / f"{name}.crt", folder / f"{name}.key"
    crt.write_bytes(pair.certificate_pem)
    key.write_bytes(pair.key_pem)
    return str(crt), str(key)


def handshake(ca_pem: str, server: tuple[str, str], client: tuple[str, str] | None, host: str = "localhost") -> bytes | None:
    """A handshake in memory, with OpenSSL's strictest checks on both sides; the client's certificate as the server saw it."""
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=ca_pem)
    server_context.verify_mode = ssl.CERT_OPTIONAL
    server_context.load_cert_chain(*server)
    client_context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=ca_pem)
    for context in (server_context, client_context):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    if client is not None:
        client_context.load_cert_chain(*client)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_end = server_context.wrap_bio(to_server, to_client, server_side=True)
    client_end = client_context.wrap_bio(to_client, to_server, server_hostname=host)
    waiting = [client_end, server_end]
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    return server_end.getpeercert(binary_form=True)


@pytest.fixture
def proxy(ca: pki.Pair, tmp_path: Path) -> tuple[str, str]:
    return written(tmp_path, "proxy", make(ca, "component", "proxy", domains=["localhost", "127.0.0.1", "::1"]))


def test_a_client_is_accepted_and_known(ca: pki.Pair, proxy: tuple[str, str], tmp_path: Path) -> None:
    acme = make(ca, "client", "acme")
    seen = handshake(ca.certificate_pem.decode(), proxy, written(tmp_path, "acme", acme))
    assert seen is not None
    assert peer_of(seen) == peer_of(acme.certificate.public_bytes(Encoding.DER))
    assert peer_of(seen).name == "acme"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_a_component_is_server_and_client(ca: pki.Pair, proxy: tuple[str, str], host: str) -> None:
    seen = handshake(ca.certificate_pem.decode(), proxy, proxy, host)
    assert seen is not None
    assert (peer_of(seen).kind, peer_of(seen).name) == ("component", "proxy")


def test_a_certificate_for_another_host_is_refused(ca: pki.Pair, proxy: tuple[str, str]) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        handshake(ca.certificate_pem.decode(), proxy, None, "example.org")


def test_a_client_is_no_server(ca: pki.Pair, tmp_path: Path) -> None:
    acme = written(tmp_path, "acme", make(ca, "client", "acme", domains=["localhost"]))
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        handshake(ca.certificate_pem.decode(), acme, None)


def test_the_policy_signer_is_neither(ca: pki.Pair, proxy: tuple[str, str], tmp_path: Path) -> None:
    signer = written(tmp_path, "policy", make(ca, "component", "policy", domains=["localhost"]))
    with pytest.raises(ssl.SSLError, match="purpose"):
        handshake(ca.certificate_pem.decode(), signer, None)
    with pytest.raises(ssl.SSLError, match="purpose"):
        handshake(ca.certificate_pem.decode(), proxy, signer)


@pytest.mark.parametrize(("kind", "reason"), [("server_only", "purpose"), ("expired", "expired")])
def test_wrong_usage_and_expiry_end_the_handshake(tmp_path: Path, kind: str, reason: str) -> None:
    authority = Authority(tmp_path)
    proxy = authority.component("proxy")
    stranger = getattr(authority, kind)("acme")
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        handshake(authority.crt.read_text(), proxy.both, stranger.both)


def test_a_foreign_ca_of_the_same_organisation_is_refused(ca: pki.Pair, proxy: tuple[str, str], tmp_path: Path) -> None:
    foreign = pki.make_ca(pki.new_key(), "Example Organisation")
    acme = written(tmp_path, "acme", make(foreign, "client", "acme"))
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        handshake(ca.certificate_pem.decode(), proxy, acme)


def test_a_client_cannot_sign_certificates(ca: pki.Pair, proxy: tuple[str, str], tmp_path: Path) -> None:
    acme = make(ca, "client", "acme")
    forged = make(acme, "client", "mallory")
    crt, key = written(tmp_path, "mallory", forged)
    Path(crt).write_bytes(forged.certificate_pem + acme.certificate_pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(ca.certificate_pem.decode(), proxy, (crt, key))


def test_the_ca(ca: pki.Pair) -> None:
    certificate = ca.certificate
    assert isinstance(ca.key.curve, ec.SECP256R1)
    assert timedelta(days=3649) < certificate.not_valid_after_utc - datetime.now(UTC) <= timedelta(days=3650)
    limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert limits.critical
    assert (limits.value.ca, limits.value.path_length) == (True, 0)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)


def test_what_a_client_certificate_holds(ca: pki.Pair) -> None:
    certificate = make(ca, "client", "acme").certificate
    extensions = certificate.extensions
    assert timedelta(days=364) < certificate.not_valid_after_utc - datetime.now(UTC) <= timedelta(days=365)
    assert certificate.not_valid_before_utc < datetime.now(UTC)
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    issuer = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert issuer == ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    pki.check_signed_by(ca.certificate, certificate)


def test_no_certificate_outlives_the_ca(ca: pki.Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(ca, "client", "acme", days=36_500).certificate.not_valid_after_utc == ca.certificate.not_valid_after_utc
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(days=3651))
    with pytest.raises(Refused, match="a new CA is needed"):
        make(ca, "client", "acme")


def test_domains_are_checked_and_kept(ca: pki.Pair) -> None:
    good = ["Broker.Example.org", "*.example.org", "bücher.example", "10.0.0.1", "fe80::1", "a", "localhost"]
    certificate = make(ca, "component", "proxy", domains=good).certificate
    assert set(pki.domains_of(certificate)) == {
        "broker.example.org", "*.example.org", "xn--bcher-kva.example", "10.0.0.1", "fe80::1", "a", "localhost",
    }  # fmt: skip


@pytest.mark.parametrize(
    "domain", ["", " ", "a b", "-a.example", "a..b", "a*.example", "ä" * 64, "x" * 300, "https://x", "a\n", "a/b"]
)
def test_what_is_no_domain_is_refused(ca: pki.Pair, domain: str) -> None:
    with pytest.raises(Refused, match="neither a host name nor"):
        make(ca, "component", "proxy", domains=[domain])


@pytest.mark.parametrize(("kind", "name"), [("client", "proxy"), ("client", "A"), ("component", "acme"), ("client", "")])
def test_no_certificate_is_made_for_who_cannot_be(ca: pki.Pair, kind: Kind, name: str) -> None:
    with pytest.raises(Refused):
        make(ca, kind, name)


def test_no_certificate_for_no_days(ca: pki.Pair) -> None:
    with pytest.raises(Refused, match="at least one day"):
        make(ca, "client", "acme", days=0)


def test_a_key_that_does_not_belong_is_told(ca: pki.Pair) -> None:
    one, other = make(ca, "client", "one"), make(ca, "client", "other")
    assert pki.Pair.parse(one.certificate_pem, one.key_pem).certificate == one.certificate
    with pytest.raises(ConfigurationError, match="does not belong"):
        pki.Pair.parse(one.certificate_pem, other.key_pem)


def test_what_is_no_key_or_certificate_is_told(ca: pki.Pair) -> None:
    other = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for wrong, sentence in ((b"", "no unencrypted private key"), (other, "not an ECDSA key")):
        with pytest.raises(ConfigurationError, match=sentence):
            pki.load_key(wrong)
    with pytest.raises(ConfigurationError, match="no certificate"):
        pki.load_certificate(ca.key_pem)


def test_the_issuer_is_checked(ca: pki.Pair) -> None:
    foreign = pki.make_ca(pki.new_key(), "Example Organisation")
    with pytest.raises(Refused, match="not issued by this CA"):
        pki.check_signed_by(ca.certificate, make(foreign, "client", "acme").certificate)
    same_name = x509.CertificateBuilder(
        issuer_name=ca.certificate.subject,
        subject_name=ca.certificate.subject,
        public_key=foreign.key.public_key(),
        serial_number=1,
        not_valid_before=datetime(2020, 1, 1, tzinfo=UTC),
        not_valid_after=datetime(2040, 1, 1, tzinfo=UTC),
    ).sign(foreign.key, SHA256())
    with pytest.raises(Refused, match="not issued by this CA"):
        pki.check_signed_by(ca.certificate, same_name)


def test_the_revocation_list(ca: pki.Pair) -> None:
    acme = make(ca, "client", "acme").certificate
    moment = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
    found = x509.load_pem_x509_crl(pki.make_crl(ca, [(serial_of(acme), moment)], 7))
    assert found.is_signature_valid(ca.certificate.public_key())  # type: ignore[arg-type]
    entry = found.get_revoked_certificate_by_serial_number(acme.serial_number)
    assert entry is not None
    assert entry.revocation_date_utc == moment
    assert found.get_revoked_certificate_by_serial_number(1) is None
    assert found.next_update_utc is not None
    assert found.next_update_utc > datetime.now(UTC)
