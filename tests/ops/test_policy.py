"""Publishing the policy: numbers only rise, revocations only add, whatever happens to the database or Redis."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import peewee as pw
import pytest
import redis as redis_py
from support.pki import installed

from messagebroker.db.models import Certificate, Client, PolicyNumber
from messagebroker.errors import BrokerError, ConfigurationError, Unavailable
from messagebroker.ops import certificates, clock, keyring, pki, policy
from messagebroker.ops.ca_folder import CaFolder
from messagebroker.ops.redis_client import POLICY, POLICY_NUMBER, connect
from messagebroker.ops.snapshot import Policy, sign, verify
from messagebroker.settings import Settings, load


@pytest.fixture
def online(tmp_path: Path, redis_url: str, database: pw.Database) -> Settings:
    return installed(tmp_path, redis_url)


@pytest.fixture
def redis(online: Settings) -> Iterator[redis_py.Redis]:
    with connect(online) as client:
        yield client


def published(settings: Settings, redis: redis_py.Redis) -> Policy:
    snapshot, number = redis.mget(POLICY, POLICY_NUMBER)
    found = verify(snapshot, CaFolder(settings).ca.certificate)
    assert int(number) == found.number
    return found


def test_it_holds_what_the_database_and_the_ring_say(online: Settings, redis: redis_py.Redis) -> None:
    certificates.issue(online, "acme")
    Client.insert(
        name="other", default_topic="orders", topics='["orders", "a.*"]', rate=5, max_batch=9,
        created_at=clock.now(), disabled_at=clock.now(),
    ).execute()  # fmt: skip
    number = policy.publish(online, redis)
    found = published(online, redis)
    assert found.number == number == PolicyNumber.get_by_id(1).number
    acme, other = found.clients["acme"], found.clients["other"]
    assert (acme.default_topic, acme.topics, acme.rate, acme.max_batch, acme.disabled) == ("messages", None, None, None, False)
    assert (other.topics, other.rate, other.max_batch, other.disabled) == (("orders", "a.*"), 5, 9, True)
    assert (found.master_key_id, found.master_public_key) == keyring.KeyRing.load(online).current_public
    assert found.maintenance is False


def test_maintenance_and_a_new_master_key_are_told(online: Settings, redis: redis_py.Redis) -> None:
    policy.publish(online, redis)
    key_id = keyring.create_master_key(online)
    maintained = load({}, data_dir=online.data_dir, environment="test", redis_url=online.redis, maintenance_mode=True)
    assert policy.publish_if_changed(maintained, redis) is not None
    assert published(online, redis).master_key_id == key_id
    assert published(online, redis).maintenance is True


def test_numbers_rise_also_when_many_publish_at_once(online: Settings, redis: redis_py.Redis, database: pw.Database) -> None:
    def work(_: int) -> int:
        return policy.publish(online)  # a connection of this thread's own

    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(work, range(12)))
    assert len(set(numbers)) == 12
    assert published(online, redis).number == max(numbers)


def test_it_is_published_again_only_when_something_changed(online: Settings, redis: redis_py.Redis) -> None:
    certificates.issue(online, "acme")
    assert policy.publish_if_changed(online, redis) is None
    Client.update(rate=7).where(Client.name == "acme").execute()
    assert policy.publish_if_changed(online, redis) is not None
    assert published(online, redis).clients["acme"].rate == 7
    assert policy.publish_if_changed(online, redis) is None


@pytest.mark.parametrize("key", [POLICY, POLICY_NUMBER])
def test_it_is_published_again_when_redis_lost_it(online: Settings, redis: redis_py.Redis, key: str) -> None:
    before = policy.publish(online, redis)
    redis.delete(key)
    number = policy.publish_if_changed(online, redis)
    assert number is not None
    assert number > before
    assert published(online, redis).number == number


def test_a_restored_database_takes_no_revocation_back(online: Settings, redis: redis_py.Redis) -> None:
    bundle = certificates.issue(online, "acme")
    number = certificates.revoke(online, "acme", "stolen")
    # yesterday's backup: neither the revocation, nor today's number; and the CA's folder is of yesterday too
    Certificate.update(revoked_at=None, revoked_reason=None).execute()
    PolicyNumber.update(number=1).execute()
    (CaFolder(online).path / "issued" / f"{bundle.issued.serial}.revoked").unlink()
    assert policy.publish_if_changed(online, redis) is not None
    found = published(online, redis)
    assert found.number > number
    assert bundle.issued.serial in found.revoked
    assert Certificate.get_by_id(bundle.issued.serial).revoked_at is not None


def test_a_redis_of_yesterday_takes_no_revocation_back(online: Settings, redis: redis_py.Redis) -> None:
    bundle = certificates.issue(online, "acme")
    yesterday = redis.mget(POLICY, POLICY_NUMBER)
    number = certificates.revoke(online, "acme")
    redis.mset({POLICY: yesterday[0], POLICY_NUMBER: yesterday[1]})
    again = policy.publish_if_changed(online, redis)
    assert again is not None
    assert again > number
    assert bundle.issued.serial in published(online, redis).revoked


def test_numbers_rise_also_when_everything_was_lost(online: Settings, redis: redis_py.Redis) -> None:
    for _ in range(5):
        before = policy.publish(online, redis)
    redis.flushall()
    PolicyNumber.delete().execute()
    assert policy.publish(online, redis) >= min(before, int(datetime.now(UTC).timestamp()) - 1)


def test_expired_certificates_leave_the_list(online: Settings, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    short = certificates.issue(online, "short", days=1)
    long = certificates.issue(online, "long", days=30)
    certificates.revoke(online, "short")
    certificates.revoke(online, "long")
    assert published(online, redis).revoked == {short.issued.serial, long.issued.serial}
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(days=2))
    assert policy.publish_if_changed(online, redis) is not None
    assert published(online, redis).revoked == {long.issued.serial}
    assert policy.publish_if_changed(online, redis) is None


@pytest.mark.parametrize("planted", [b"", b"{}", b"\xff\x00", "foreign"])
def test_what_an_intruder_put_into_redis_is_replaced(online: Settings, redis: redis_py.Redis, planted: bytes | str) -> None:
    certificates.issue(online, "acme")
    number = policy.publish(online, redis)
    if planted == "foreign":
        ca = pki.make_ca(pki.new_key(), "localhost")
        key = pki.new_key()
        forger = pki.Pair(pki.make_certificate(ca, "component", "policy", key.public_key()), key)
        planted = sign(replace(published(online, redis), number=10**15, clients={}), forger)
    redis.mset({POLICY: planted, POLICY_NUMBER: 10**15})
    assert policy.publish_if_changed(online, redis) is not None
    assert number < published(online, redis).number < 10**12
    assert set(published(online, redis).clients) == {"acme"}


def test_a_key_of_a_wrong_type_is_replaced_too(online: Settings, redis: redis_py.Redis) -> None:
    number = policy.publish(online, redis)
    redis.delete(POLICY)
    redis.lpush(POLICY, "x")
    assert policy.publish_if_changed(online, redis) is not None
    assert published(online, redis).number > number


def test_without_redis_nothing_is_counted(online: Settings, redis: redis_py.Redis) -> None:
    number = policy.publish(online, redis)
    nowhere = load({}, data_dir=online.data_dir, environment="test", redis_url="redis://127.0.0.1:1/0")
    for attempt in (policy.publish, policy.publish_if_changed, policy.publish_revocations):
        with pytest.raises(Unavailable, match="does not answer, so no policy was published"):
            attempt(nowhere)
    assert PolicyNumber.get_by_id(1).number == number


def test_revocations_alone_need_a_policy_to_build_on(online: Settings, redis: redis_py.Redis) -> None:
    with pytest.raises(Unavailable, match="neither the database nor a published policy"):
        policy.publish_revocations(online, redis)
    assert redis.get(POLICY) is None


def test_revocations_alone_take_no_clients_from_a_revoked_signer(online: Settings, redis: redis_py.Redis) -> None:
    policy.publish(online, redis)
    stolen = CaFolder(online).signer()
    certificates.revoke(online, "policy")
    forged = replace(published(online, redis), number=10**12, revoked=frozenset(), clients={})
    redis.mset({POLICY: sign(forged, stolen), POLICY_NUMBER: forged.number})
    with pytest.raises(Unavailable):
        policy.publish_revocations(online, redis)


def test_a_machine_without_the_ca_or_the_keys_cannot_publish(online: Settings, redis: redis_py.Redis, tmp_path: Path) -> None:
    elsewhere = load({}, data_dir=tmp_path / "elsewhere", environment="test", redis_url=online.redis)
    with pytest.raises(ConfigurationError):
        policy.publish(elsewhere, redis)
    online.path(online.encryption_key_path).unlink()
    with pytest.raises(ConfigurationError, match=r"encryption\.key is missing"):
        policy.publish(online, redis)
    assert redis.get(POLICY) is None


def test_an_old_database_is_no_reason_to_fail_badly(online: Settings, redis: redis_py.Redis) -> None:
    PolicyNumber.drop_table()
    with pytest.raises((BrokerError, pw.PeeweeException)):
        policy.publish(online, redis)
    assert redis.get(POLICY) is None
