"""Following the policy: within a second, never backwards, and over restarts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import peewee as pw
import pytest
import redis as redis_py
from support.pki import installed, peer
from support.servers import Redis

from messagebroker.db import schema
from messagebroker.db.connection import open_database
from messagebroker.db.models import Client
from messagebroker.errors import ConfigurationError
from messagebroker.ops import certificates, clock, pki, policy, policy_watcher
from messagebroker.ops.ca_folder import CaFolder
from messagebroker.ops.metrics import REGISTRY
from messagebroker.ops.policy import PolicyWatcher
from messagebroker.ops.redis_client import POLICY, POLICY_NUMBER, connect
from messagebroker.ops.snapshot import Policy, sign, verify
from messagebroker.settings import Settings, load

pytestmark = pytest.mark.clocked

PACE = policy_watcher.POLL_SECONDS


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls more often than the product does; the test of its pace takes that back."""
    monkeypatch.setattr(policy_watcher, "POLL_SECONDS", 0.02)


@pytest.fixture
def online(tmp_path: Path, redis_url: str) -> Iterator[Settings]:
    settings = installed(tmp_path, redis_url)
    opened: pw.Database = open_database(settings)
    schema.upgrade()
    yield settings
    if not opened.is_closed():
        opened.close()


@pytest.fixture
def redis(online: Settings) -> Iterator[redis_py.Redis]:
    with connect(online) as client:
        yield client


@pytest.fixture
def watcher(online: Settings) -> Iterator[PolicyWatcher]:
    made = PolicyWatcher(online, name="proxy")
    yield made
    made.stop()


def wait_until(condition: Callable[[], object], seconds: float = 5.0) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        time.sleep(0.005)
    return time.monotonic() - began


def refusals() -> float:
    return REGISTRY.get_sample_value("messagebroker_policy_refused_total") or 0.0


def current(watcher: PolicyWatcher) -> Policy:
    assert watcher.current is not None
    return watcher.current


def forged(online: Settings, redis: redis_py.Redis, signer: pki.Pair, **changes: object) -> None:
    """Puts a changed copy of the published policy into Redis."""
    snapshot = redis.get(POLICY)
    assert isinstance(snapshot, bytes)
    made = replace(verify(snapshot, CaFolder(online).ca.certificate), **changes)  # type: ignore[arg-type]
    redis.mset({POLICY: sign(made, signer), POLICY_NUMBER: made.number})


def test_a_revocation_arrives_within_a_second(
    online: Settings, watcher: PolicyWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_watcher, "POLL_SECONDS", PACE)
    acme = peer(certificates.issue(online, "acme"))
    watcher.start()
    assert watcher.refusal(acme) is None
    certificates.revoke(online, "acme")
    assert wait_until(lambda: watcher.refusal(acme) == "revoked") < 1.0


def test_each_reason_to_refuse(online: Settings, watcher: PolicyWatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = peer(certificates.issue(online, "acme"))
    main = peer(certificates.issue(online, "main", kind="component"))
    assert watcher.refusal(acme) == "unknown-client"  # no policy yet
    assert watcher.refusal(main) == "unknown-client"
    watcher.start()
    assert watcher.refusal(acme) is None
    assert watcher.refusal(main) is None
    assert watcher.refusal(replace(acme, name="stranger")) == "unknown-client"
    Client.update(disabled_at=clock.now()).where(Client.name == "acme").execute()
    policy.publish(online)
    wait_until(lambda: watcher.refusal(acme) == "disabled")
    certificates.revoke(online, "main")
    wait_until(lambda: watcher.refusal(main) == "revoked")
    just_before, end = acme.not_after - timedelta(seconds=1), acme.not_after
    Client.update(disabled_at=None).execute()
    policy.publish(online)
    wait_until(lambda: watcher.refusal(acme) is None)
    monkeypatch.setattr(clock, "now", lambda: just_before)
    assert watcher.refusal(acme) is None
    monkeypatch.setattr(clock, "now", lambda: end)
    assert watcher.refusal(acme) == "expired"


def test_without_the_ca_it_does_not_start(tmp_path: Path, redis_url: str) -> None:
    settings = load({}, data_dir=tmp_path, environment="test", redis_url=redis_url)
    with pytest.raises(ConfigurationError, match=r"ca\.crt is missing"):
        PolicyWatcher(settings, name="proxy").start()


def test_it_waits_for_the_first_policy(online: Settings, watcher: PolicyWatcher) -> None:
    watcher.start()
    assert watcher.current is None
    assert not watcher.is_fresh()
    number = policy.publish(online)
    wait_until(watcher.is_fresh)
    assert current(watcher).number == number


def test_a_lower_number_is_refused_and_counted(online: Settings, redis: redis_py.Redis, watcher: PolicyWatcher) -> None:
    acme = peer(certificates.issue(online, "acme"))
    old = redis.mget(POLICY, POLICY_NUMBER)
    certificates.revoke(online, "acme")
    watcher.start()
    before, checked = refusals(), watcher.checked_at
    redis.mset({POLICY: old[0], POLICY_NUMBER: old[1]})
    wait_until(lambda: refusals() > before)
    assert watcher.refusal(acme) == "revoked"
    assert watcher.checked_at - checked < 0.5
    number = policy.publish_if_changed(online, redis)
    wait_until(lambda: current(watcher).number == number and watcher.is_fresh(0.5))
    assert watcher.refusal(acme) == "revoked"


def test_the_old_snapshot_under_the_old_number_ends_freshness(
    online: Settings, redis: redis_py.Redis, watcher: PolicyWatcher
) -> None:
    old = policy.publish(online), redis.get(POLICY)
    policy.publish(online)
    watcher.start()
    redis.mset({POLICY: old[1], POLICY_NUMBER: old[0]})  # type: ignore[dict-item]
    wait_until(lambda: not watcher.is_fresh(0.15))


@pytest.mark.parametrize("who", ["foreign CA", "client", "proxy", "garbage", "missing", "no number"])
def test_what_an_intruder_in_redis_says_is_refused(
    online: Settings, redis: redis_py.Redis, watcher: PolicyWatcher, who: str
) -> None:
    bundle = certificates.issue(online, "acme")
    acme = peer(bundle)
    certificates.revoke(online, "acme")
    watcher.start()
    before, number = refusals(), current(watcher).number
    if who == "foreign CA":
        ca, key = pki.make_ca(pki.new_key(), "localhost"), pki.new_key()
        signer = pki.Pair(pki.make_certificate(ca, "component", "policy", key.public_key()), key)
        forged(online, redis, signer, number=number + 1, revoked=frozenset())
    elif who in ("client", "proxy"):
        other = bundle if who == "client" else certificates.issue(online, "proxy", kind="component")
        signer = pki.Pair.parse(other.certificate.read_bytes(), other.key.read_bytes())
        forged(online, redis, signer, number=number + 1, revoked=frozenset())
    elif who == "garbage":
        redis.mset({POLICY: b"\xff\x00", POLICY_NUMBER: number + 1})
    elif who == "missing":
        redis.delete(POLICY, POLICY_NUMBER)
    else:
        redis.set(POLICY_NUMBER, "many")
    wait_until(lambda: refusals() > before)
    assert watcher.refusal(acme) == "revoked"
    assert current(watcher).number == number
    wait_until(lambda: not watcher.is_fresh(0.15))
    policy.publish(online)
    wait_until(lambda: current(watcher).number > number)
    assert watcher.refusal(acme) == "revoked"


def test_a_signer_that_was_revoked_is_no_longer_believed(
    online: Settings, redis: redis_py.Redis, watcher: PolicyWatcher
) -> None:
    policy.publish(online)
    stolen = CaFolder(online).signer()
    certificates.revoke(online, "policy")
    watcher.start()
    number, before = current(watcher).number, refusals()
    forged(online, redis, stolen, number=number + 1, revoked=frozenset())
    wait_until(lambda: refusals() > before)
    assert current(watcher).number == number


def test_an_installation_rebuilt_from_an_old_backup_takes_no_revocation_back(
    online: Settings, redis: redis_py.Redis, watcher: PolicyWatcher
) -> None:
    acme = peer(certificates.issue(online, "acme"))
    certificates.revoke(online, "acme")
    watcher.start()
    number = current(watcher).number
    # properly signed, higher number, but everybody who knew of the revocation is gone: only this proxy remembers
    forged(online, redis, CaFolder(online).signer(), number=number + 1, revoked=frozenset())
    wait_until(lambda: current(watcher).number == number + 1)
    assert watcher.refusal(acme) == "revoked"
    watcher.stop()
    redis.flushall()
    restarted = PolicyWatcher(online, name="proxy")
    restarted.start()
    try:
        assert current(restarted).number == number + 1
        assert restarted.refusal(acme) == "revoked"
        assert not restarted.is_fresh()
    finally:
        restarted.stop()


def test_the_last_policy_is_kept_over_a_restart_and_never_replaced_by_an_older_one(
    online: Settings, redis: redis_py.Redis, watcher: PolicyWatcher
) -> None:
    acme = peer(certificates.issue(online, "acme"))
    old = redis.mget(POLICY, POLICY_NUMBER)
    number = certificates.revoke(online, "acme")
    watcher.start()
    watcher.stop()
    redis.mset({POLICY: old[0], POLICY_NUMBER: old[1]})
    restarted = PolicyWatcher(online, name="proxy")
    restarted.start()
    try:
        assert current(restarted).number == number
        assert restarted.refusal(acme) == "revoked"
        assert not restarted.is_fresh()
    finally:
        restarted.stop()


@pytest.mark.parametrize("damage", ["", "{}", "[", '{"snapshot": "e30=", "revoked": []}'])
def test_a_damaged_file_is_no_policy(online: Settings, watcher: PolicyWatcher, damage: str) -> None:
    policy.publish(online)
    online.path(Path("policy-proxy.json")).write_text(damage)
    before = refusals()
    watcher.start()
    assert refusals() > before
    assert watcher.is_fresh()


def test_a_file_of_another_installation_is_no_policy(online: Settings, watcher: PolicyWatcher, tmp_path: Path) -> None:
    other = installed(tmp_path / "other", online.redis)
    policy.publish(other)
    stranger = PolicyWatcher(other, name="proxy")
    stranger.start()
    stranger.stop()
    with connect(online) as client:
        client.flushall()
    online.path(Path("policy-proxy.json")).write_bytes(other.path(Path("policy-proxy.json")).read_bytes())
    watcher.start()
    assert watcher.current is None


def test_a_disk_that_is_full_does_not_stop_it(
    online: Settings, watcher: PolicyWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("messagebroker.ops.policy_watcher.write_public", full)
    number = policy.publish(online)
    watcher.start()
    assert current(watcher).number == number
    assert watcher.is_fresh()


def test_an_unforeseen_error_does_not_end_the_thread(
    online: Settings, watcher: PolicyWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy.publish(online)
    watcher.start()
    with monkeypatch.context() as broken:
        broken.setattr(watcher, "poll", lambda: 1 / 0)
        wait_until(lambda: not watcher.is_fresh(0.15))
    wait_until(lambda: watcher.is_fresh(0.3))


def test_freshness_ends_while_redis_is_away_and_comes_back(tmp_path: Path) -> None:
    with Redis() as server:
        settings = installed(tmp_path, server.url)
        opened = open_database(settings)
        schema.upgrade()
        bundle = certificates.issue(settings, "acme")
        watcher = PolicyWatcher(settings, name="proxy")
        watcher.start()
        try:
            assert watcher.is_fresh()
            server.kill()
            wait_until(lambda: not watcher.is_fresh(0.15))
            assert watcher.refusal(peer(bundle)) is None
            server.start()
            wait_until(lambda: watcher.is_fresh(0.3))
        finally:
            watcher.stop()
            if not opened.is_closed():
                opened.close()


def test_a_signer_that_ended_meanwhile_is_still_believed(
    online: Settings, watcher: PolicyWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy.publish(online)
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(days=500))
    watcher.start()
    assert watcher.is_fresh()
