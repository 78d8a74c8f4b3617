"""The signed snapshot: only this CA's policy signer can make one, and nobody can change it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from messagebroker.errors import Refused
from messagebroker.ops import pki
from messagebroker.ops.identity import Kind, serial_of
from messagebroker.ops.snapshot import ClientPolicy, Policy, TopicPolicy, sign, verify

ACME = ClientPolicy(name="acme", default_topic="orders", topics=("orders.*", "a/b"), rate=50, max_batch=10, disabled=False)
OTHER = ClientPolicy(name="other", default_topic="messages", topics=None, rate=None, max_batch=None, disabled=True)


@pytest.fixture(scope="module")
def ca() -> pki.Pair:
    return pki.make_ca(pki.new_key(), "Example")


@pytest.fixture(scope="module")
def signer(ca: pki.Pair) -> pki.Pair:
    return pair(ca, "component", "policy")


def pair(ca: pki.Pair, kind: str, name: str) -> pki.Pair:
    key = pki.new_key()
    return pki.Pair(pki.make_certificate(ca, cast(Kind, kind), name, key.public_key()), key)


@pytest.fixture
def policy() -> Policy:
    return Policy(
        number=7,
        issued_at=datetime.now(UTC),
        revoked=frozenset({"1f", "2e"}),
        clients={"acme": ACME, "other": OTHER},
        master_key_id=b"\x00\xff345678",
        master_public_key=bytes(range(32)),
        maintenance=True,
        topics={"orders": TopicPolicy('{"type":"object"}'), "old": TopicPolicy(None, True)},
    )


def test_what_was_signed_comes_back_whole(ca: pki.Pair, signer: pki.Pair, policy: Policy) -> None:
    assert verify(sign(policy, signer), ca.certificate) == policy


def test_a_snapshot_from_before_there_were_topics_is_read(ca: pki.Pair, signer: pki.Pair, policy: Policy) -> None:
    body = msgspec.json.decode(msgspec.json.encode(policy))
    del body["topics"]
    assert verify(signed(body, signer), ca.certificate) == replace(policy, topics={})


def test_members_that_come_later_do_not_hinder_older_servers(ca: pki.Pair, signer: pki.Pair, policy: Policy) -> None:
    body = msgspec.json.decode(msgspec.json.encode(policy))
    body["later"] = 1
    body["topics"]["orders"].append("later")
    assert verify(signed(body, signer), ca.certificate) == policy


def test_topics_differ_as_content_does(policy: Policy) -> None:
    assert replace(policy, number=9).content == policy.content
    assert replace(policy, topics={}).content != policy.content


def signed(body: dict[str, Any], signer: pki.Pair) -> bytes:
    raw = msgspec.json.encode(body)
    signature = signer.key.sign(b"messagebroker policy 1\n" + raw, ec.ECDSA(SHA256()))
    return msgspec.json.encode({"body": raw, "signature": signature, "certificate": signer.certificate_pem.decode()})


def test_no_byte_can_be_changed(ca: pki.Pair, signer: pki.Pair, policy: Policy) -> None:
    data = sign(policy, signer)
    for position in range(0, len(data), 7):
        damaged = data[:position] + bytes([data[position] ^ 0x01]) + data[position + 1 :]
        try:
            found = verify(damaged, ca.certificate)
        except Refused:
            continue
        assert found == policy  # the damage hit what is no content, such as a line end in the PEM


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"\xff", b'{"body": "", "signature": "", "certificate": ""}',
     b'{"body": "", "signature": "", "certificate": "\xff"}', b'{"other": ' + b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_snapshot_is_refused(ca: pki.Pair, data: bytes) -> None:
    with pytest.raises(Refused):
        verify(data, ca.certificate)


def test_parts_of_two_snapshots_do_not_go_together(ca: pki.Pair, signer: pki.Pair, policy: Policy) -> None:
    one = json.loads(sign(policy, signer))
    two = json.loads(sign(replace(policy, revoked=frozenset()), signer))
    with pytest.raises(Refused, match="changed on the way"):
        verify(json.dumps({**one, "body": two["body"]}).encode(), ca.certificate)


def test_a_foreign_signer_is_refused(ca: pki.Pair, policy: Policy) -> None:
    foreign = pair(pki.make_ca(pki.new_key(), "Example"), "component", "policy")
    with pytest.raises(Refused, match="not issued by this CA"):
        verify(sign(policy, foreign), ca.certificate)


@pytest.mark.parametrize(("kind", "name"), [("client", "acme"), ("component", "proxy"), ("component", "main")])
def test_another_holder_of_this_ca_is_refused(ca: pki.Pair, policy: Policy, kind: str, name: str) -> None:
    with pytest.raises(Refused, match="does not sign policies"):
        verify(sign(policy, pair(ca, kind, name)), ca.certificate)


def test_the_signers_certificate_with_another_key_is_refused(ca: pki.Pair, signer: pki.Pair, policy: Policy) -> None:
    with pytest.raises(Refused, match="signature"):
        verify(sign(policy, pki.Pair(signer.certificate, pki.new_key())), ca.certificate)


def test_a_revoked_signer_is_refused(ca: pki.Pair, signer: pki.Pair, policy: Policy) -> None:
    serial = serial_of(signer.certificate)
    with pytest.raises(Refused, match="revoked"):
        verify(sign(policy, signer), ca.certificate, revoked=frozenset({serial}))
    with pytest.raises(Refused, match="revoked"):
        verify(sign(replace(policy, revoked=frozenset({serial})), signer), ca.certificate)


@pytest.mark.parametrize("days", [-1, 366])
def test_a_signer_signs_only_while_it_is_valid(ca: pki.Pair, signer: pki.Pair, policy: Policy, days: int) -> None:
    other_time = replace(policy, issued_at=datetime.now(UTC) + timedelta(days=days))
    with pytest.raises(Refused, match="not valid when it signed"):
        verify(sign(other_time, signer), ca.certificate)


def test_a_time_without_a_zone_is_refused(ca: pki.Pair, signer: pki.Pair, policy: Policy) -> None:
    with pytest.raises(Refused, match="not valid when it signed"):
        verify(sign(replace(policy, issued_at=datetime(2026, 1, 1)), signer), ca.certificate)  # noqa: DTZ001


@pytest.mark.parametrize("change", [{"number": 0}, {"number": -1}, {"master_key_id": b"1"}, {"master_public_key": b"1" * 31}])
def test_values_out_of_range_are_refused(ca: pki.Pair, signer: pki.Pair, policy: Policy, change: dict[str, object]) -> None:
    with pytest.raises(Refused, match="out of range"):
        verify(sign(replace(policy, **change), signer), ca.certificate)  # type: ignore[arg-type]


def test_the_content_leaves_out_number_and_time(policy: Policy) -> None:
    assert replace(policy, number=8, issued_at=datetime.now(UTC)).content == policy.content
    assert replace(policy, revoked=frozenset()).content != policy.content
    assert replace(policy, clients={}).content != policy.content
    assert replace(policy, maintenance=False).content != policy.content
