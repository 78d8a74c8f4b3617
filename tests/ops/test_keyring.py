"""The ring of master keys and the first secrets."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from messagebroker.errors import ConfigurationError, NotFound, Refused
from messagebroker.ops import keyring, recovery
from messagebroker.ops.keyring import KeyRing, create_master_key, first_secrets
from messagebroker.ops.private_files import is_private
from messagebroker.ops.records import SealedKey
from messagebroker.ops.sealing import SealingKey
from messagebroker.settings import Settings


@pytest.fixture
def path(settings: Settings) -> Path:
    return settings.path(settings.encryption_key_path)


def sealed_to(ring: KeyRing) -> SealedKey:
    return SealingKey(ring.current_public, 60).key


def test_the_first_key_makes_the_file_for_its_owner_alone(settings: Settings, path: Path) -> None:
    key_id = create_master_key(settings)
    assert is_private(path)
    found, public = KeyRing.load(settings).current_public
    assert (found, len(found), len(public)) == (key_id, 8, 32)


def test_retired_keys_stay_and_the_newest_is_in_use(settings: Settings) -> None:
    first = create_master_key(settings)
    old = sealed_to(KeyRing.load(settings))
    second = create_master_key(settings)
    ring = KeyRing.load(settings)
    assert [key_id for key_id, _ in ring.keys] == [second, first]
    assert ring.current_public[0] == second
    assert len(ring.open_key(old)) == 32
    assert len(ring.open_key(sealed_to(ring))) == 32


def test_keys_made_at_the_same_time_are_all_kept(settings: Settings) -> None:
    create_master_key(settings)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: create_master_key(settings), range(8)))
    assert set(made) < {key_id for key_id, _ in KeyRing.load(settings).keys}


def test_a_key_of_another_ring_is_named(settings: Settings, path: Path) -> None:
    lost = create_master_key(settings)
    key = sealed_to(KeyRing.load(settings))
    path.unlink()
    create_master_key(settings)
    with pytest.raises(NotFound, match=lost.hex()):
        KeyRing.load(settings).open_key(key)


def test_a_sealed_key_opens_only_whole_and_under_its_own_id(settings: Settings) -> None:
    create_master_key(settings)
    ring = KeyRing.load(settings)
    key = sealed_to(ring)
    for position in range(len(key.sealed)):
        damaged = key.sealed[:position] + bytes([key.sealed[position] ^ 1]) + key.sealed[position + 1 :]
        with pytest.raises(Refused, match=key.id.hex()):
            ring.open_key(SealedKey(key.id, key.master_key_id, damaged, key.created_at))
    for length in (0, 31, 32, len(key.sealed) - 1):
        with pytest.raises(Refused):
            ring.open_key(SealedKey(key.id, key.master_key_id, key.sealed[:length], key.created_at))
    with pytest.raises(Refused):
        ring.open_key(SealedKey(bytes(16), key.master_key_id, key.sealed, key.created_at))


@pytest.mark.parametrize("content", ["", "nonsense", "{}", "[]", '[{"id": "00"}]'])
def test_a_damaged_file_is_told_from_a_missing_one(settings: Settings, path: Path, content: str) -> None:
    with pytest.raises(ConfigurationError, match="missing"):
        KeyRing.load(settings)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(ConfigurationError, match="from a backup"):
        KeyRing.load(settings)
    with pytest.raises(ConfigurationError):
        create_master_key(settings)
    assert path.read_text() == content


@pytest.mark.parametrize("private", ["", "AAAA", "no base64", "A" * 43 + "="])
def test_a_damaged_key_in_the_file_is_named(settings: Settings, path: Path, private: str) -> None:
    key_id = create_master_key(settings).hex()
    entries = json.loads(path.read_text())
    entries[0]["private"] = private
    path.write_text(json.dumps(entries))
    with pytest.raises(ConfigurationError, match=key_id):
        KeyRing.load(settings)


def test_first_secrets_makes_what_is_missing_and_shows_the_recovery_key_once(settings: Settings) -> None:
    shown = first_secrets(settings)
    assert shown is not None
    secrets = [
        settings.path(settings.encryption_key_path),
        settings.path(settings.sender_key_path),
        settings.path(settings.main_secret_path),
        keyring.jwt_key_path(settings),
    ]
    before = [path.read_bytes() for path in secrets]
    assert all(is_private(path) for path in secrets)
    assert first_secrets(settings) is None
    assert [path.read_bytes() for path in secrets] == before
    secrets[1].unlink()
    assert first_secrets(settings) is None
    assert secrets[1].read_bytes() != before[1]
    kept = [path.read_text(errors="replace") for path in settings.data_dir.rglob("*") if path.is_file()]
    assert not any(shown in text for text in kept)


def test_the_recovery_key_that_is_shown_opens_what_the_kept_half_seals(settings: Settings) -> None:
    shown = first_secrets(settings)
    assert shown is not None
    sealed = recovery.seal(recovery.public_key(settings), "a", b"secret")
    assert recovery.unseal(recovery.private_key(shown), "a", sealed) == b"secret"


def test_the_sender_hash_depends_on_sender_and_key(settings: Settings) -> None:
    first_secrets(settings)
    key = keyring.sender_key(settings)
    hashed = keyring.sender_hash(key, "+4915112345678")
    assert len(hashed) == 16
    assert hashed == keyring.sender_hash(key, "+4915112345678")
    assert len({hashed, keyring.sender_hash(key, "+4915112345679"), keyring.sender_hash(key + b"x", "+4915112345678")}) == 3


def test_the_sender_hash_is_hmac_sha256() -> None:
    # RFC 4231, test case 2
    assert keyring.sender_hash(b"Jefe", "what do ya want for nothing?").hex() == "5bdcc146bf60754e6a042426089575c7"


def test_every_purpose_has_a_key_of_its_own(settings: Settings) -> None:
    with pytest.raises(ConfigurationError):
        keyring.derived_key(settings, "audit chain")
    first_secrets(settings)
    chain = keyring.derived_key(settings, "audit chain")
    assert chain == keyring.derived_key(settings, "audit chain")
    assert chain != keyring.derived_key(settings, "second factors")
    assert len(chain) == 32
