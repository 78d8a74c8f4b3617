"""Sealing messages: what opens, what does not, and when the data key changes."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messagebroker.errors import Refused
from messagebroker.ops import ids, sealing
from messagebroker.ops.keyring import KeyRing, create_master_key
from messagebroker.ops.sealing import Sealer, SealingKey
from messagebroker.settings import load


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    settings = load({}, data_dir=tmp_path_factory.mktemp("keys"), environment="test")
    create_master_key(settings)
    return KeyRing.load(settings)


@pytest.fixture(scope="module")
def other_ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    settings = load({}, data_dir=tmp_path_factory.mktemp("other"), environment="test")
    create_master_key(settings)
    return KeyRing.load(settings)


@given(plain=st.binary(max_size=2000), client=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True))
def test_what_was_sealed_opens(ring: KeyRing, plain: bytes, client: str) -> None:
    message_id = ids.new()
    sealed, key = Sealer(ring.current_public, 60).seal(message_id, client, plain)
    assert len(sealed) == 12 + len(plain) + 16
    assert len(plain) < 4 or plain not in sealed
    assert ring.open(message_id, client, sealed, ring.open_key(key)) == plain


def test_a_changed_ciphertext_does_not_open(ring: KeyRing) -> None:
    message_id = ids.new()
    sealed, key = Sealer(ring.current_public, 60).seal(message_id, "acme", b"text")
    data_key = ring.open_key(key)
    for position in range(len(sealed)):
        damaged = sealed[:position] + bytes([sealed[position] ^ 0x80]) + sealed[position + 1 :]
        with pytest.raises(Refused, match=message_id.hex()):
            ring.open(message_id, "acme", damaged, data_key)
    for length in range(len(sealed)):
        with pytest.raises(Refused):
            ring.open(message_id, "acme", sealed[:length], data_key)


def test_a_ciphertext_belongs_to_its_message_client_and_key(ring: KeyRing) -> None:
    message_id = ids.new()
    sealer = Sealer(ring.current_public, 60)
    sealed, key = sealer.seal(message_id, "acme", b"text")
    data_key = ring.open_key(key)
    another_key = ring.open_key(SealingKey(ring.current_public, 60).key)
    for stranger in ((ids.new(), "acme", data_key), (message_id, "acm", data_key), (message_id, "acme", another_key)):
        with pytest.raises(Refused):
            ring.open(stranger[0], stranger[1], sealed, stranger[2])


def test_a_nonce_never_comes_twice_also_between_threads(ring: KeyRing) -> None:
    key = SealingKey(ring.current_public, 60)

    def work(_: int) -> list[bytes]:
        return [key.seal(bytes(16), b"acme", b"")[:12] for _ in range(2000)]

    with ThreadPoolExecutor(8) as pool:
        nonces = Counter(nonce for part in pool.map(work, range(8)) for nonce in part)
    assert len(nonces) == 16_000


def test_the_key_changes_in_time(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(sealing.time, "monotonic", lambda: clock[0])
    sealer = Sealer(ring.current_public, 300)
    first = sealer.current()
    clock[0] += 299.9
    assert sealer.current() is first
    clock[0] += 0.2
    second = sealer.current()
    assert second is not first
    assert second.key.id != first.key.id
    assert ring.open_key(second.key) != ring.open_key(first.key)


def test_the_key_changes_when_it_is_used_up(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "MAX_USES", 3)
    sealer = Sealer(ring.current_public, 300)
    used = [sealer.seal(ids.new(), "acme", b"")[1].id for _ in range(8)]
    assert used[0] != used[-1]
    assert max(Counter(used).values()) <= 4  # the one that finds out still goes


def test_a_new_master_key_is_taken_at_once(ring: KeyRing, other_ring: KeyRing) -> None:
    master = ring.current_public
    sealer = Sealer(lambda: master, 300)
    ring.open_key(sealer.current().key)
    master = other_ring.current_public
    message_id = ids.new()
    sealed, key = sealer.seal(message_id, "acme", b"text")
    assert key.master_key_id == other_ring.current_public[0]
    assert other_ring.open(message_id, "acme", sealed, other_ring.open_key(key)) == b"text"


def test_threads_that_find_the_key_ended_draw_one_new_key(ring: KeyRing) -> None:
    sealer = Sealer(ring.current_public, 300)
    ended = sealer.current()
    # what two threads do that saw the same key end
    first, second = sealer._rotated(ended), sealer._rotated(ended)
    assert first is second is sealer.current()
    assert first is not ended


def test_without_a_master_key_the_first_use_says_so() -> None:
    def no_policy() -> tuple[bytes, bytes]:
        raise Refused("no policy yet")

    sealer = Sealer(no_policy, 300)
    with pytest.raises(Refused, match="no policy yet"):
        sealer.current()
