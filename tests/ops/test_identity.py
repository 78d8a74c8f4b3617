"""Who a certificate stands for, and what is refused."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from support.certs import CLIENT, Authority

from messagebroker import roles
from messagebroker.errors import Refused
from messagebroker.ops.identity import peer_of


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def issued(authority: Authority, *uris: str, cn: str = "acme") -> bytes:
    return authority.issue("acme", uris=list(uris), usages=[CLIENT], cn=cn).der


def test_a_client_is_its_uri(authority: Authority) -> None:
    certificate = authority.client("acme")
    parsed = x509.load_der_x509_certificate(certificate.der)
    peer = peer_of(certificate.der)
    assert (peer.kind, peer.name) == ("client", "acme")
    assert peer.serial == format(parsed.serial_number, "x")
    assert not peer.serial.startswith("0x")
    assert peer.fingerprint == parsed.fingerprint(SHA256()).hex()
    assert peer.not_after.tzinfo is not None
    assert peer.not_before < peer.not_after


@pytest.mark.parametrize("name", [*roles.NAMES, "monitoring", "policy"])
def test_components_are_known_by_name_and_no_client_can_have_one(authority: Authority, name: str) -> None:
    assert peer_of(issued(authority, f"urn:messagebroker:component:{name}", cn=name)).kind == "component"
    with pytest.raises(Refused, match="component"):
        peer_of(issued(authority, f"urn:messagebroker:client:{name}", cn=name))


def test_an_unknown_component_is_nobody(authority: Authority) -> None:
    with pytest.raises(Refused, match="no component"):
        peer_of(issued(authority, "urn:messagebroker:component:acme"))


@pytest.mark.parametrize(
    "uris",
    [
        (),
        ("https://acme.example",),
        ("urn:messagebroker:client:acme", "urn:messagebroker:client:other"),
        ("urn:messagebroker:client:acme", "urn:messagebroker:component:proxy"),
        ("urn:messagebroker:client:acme", "URN:MessageBroker:component:proxy"),
        ("URN:messagebroker:client:acme",),
        ("urn:messagebroker:admin:acme",),
        ("urn:messagebroker:client:acme:more",),
        ("urn:messagebroker:acme",),
        ("urn:messagebroker:client:",),
        ("urn:messagebroker:client:Acme",),
        ("urn:messagebroker:client:acme\n",),
        ("urn:messagebroker:client:-acme",),
        ("urn:messagebroker:client:" + "a" * 64,),
        ("urn:messagebroker:client:other",),
    ],
)
def test_anything_else_is_refused(authority: Authority, uris: tuple[str, ...]) -> None:
    cn = uris[0].rpartition(":")[2].strip()[:64] if uris and "other" not in uris[0] else "acme"
    with pytest.raises(Refused):
        peer_of(issued(authority, *uris, cn=cn or "acme"))


def test_a_certificate_without_any_alternative_name_is_refused(authority: Authority) -> None:
    with pytest.raises(Refused, match="names nobody"):
        peer_of(authority.nameless("acme").der)


def test_a_further_foreign_uri_does_no_harm(authority: Authority) -> None:
    assert peer_of(issued(authority, "https://acme.example", "urn:messagebroker:client:acme")).name == "acme"


@pytest.mark.parametrize("der", [b"", b"not a certificate", b"\x30\x03\x02\x01\x01"])
def test_what_is_no_certificate_is_refused(der: bytes) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        peer_of(der)


def test_a_damaged_certificate_never_ends_in_another_error(authority: Authority) -> None:
    der = authority.client("acme").der
    for position in range(len(der)):
        damaged = der[:position] + bytes([der[position] ^ 0x21]) + der[position + 1 :]
        try:
            assert peer_of(damaged).name == "acme"  # the damage hit the key or the signature, which TLS checks
        except Refused:
            continue
