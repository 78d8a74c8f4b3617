from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import zipfile
from datetime import timedelta
from pathlib import Path

import msgspec
import peewee as pw
import pytest
import redis as redis_py
from support.audit import AuditEntry
from support.calls import consumer_of, take
from support.installed import Installed, forget_written_keys, quiet, url_of
from support.records import record

from messagebroker.actors import ingest
from messagebroker.actors.broker import setup_broker
from messagebroker.db import resealing
from messagebroker.db.connection import connected
from messagebroker.db.connection import database as bound
from messagebroker.db.models import DataKey
from messagebroker.errors import NotFound, Refused, Unavailable
from messagebroker.ops import backup, clock, failures, keyring, master_keys, policy
from messagebroker.ops import store as storing
from messagebroker.ops.audit import Actor
from messagebroker.ops.records import SealedKey, decode_call
from messagebroker.ops.redis_client import connect
from messagebroker.ops.sealing import Sealer, SealingKey

ME = Actor(name="cli:test")


@pytest.fixture
def installed(database: pw.Database, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Installed:
    forget_written_keys()
    monkeypatch.setattr(master_keys, "SETTLING", timedelta(0))
    made = Installed(tmp_path, database_url=url_of(database), redis_url=redis_url)
    policy.publish(made.settings)
    return made


def ring(installed: Installed) -> list[str]:
    return [entry.id for entry in keyring.entries(installed.settings)]


def many_keys(installed: Installed, count: int) -> list[bytes]:
    """Messages under a data key each."""
    found = []
    for _ in range(count):
        installed.sealer = Sealer(keyring.KeyRing.load(installed.settings).current_public, 300)
        found += installed.store(1)
    return found


def under() -> dict[str, int]:
    with connected():
        return {key.hex(): number for key, number in resealing.count_by_master_key().items()}


def test_all_data_keys_move_to_a_new_key_that_proxies_are_told_of(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(master_keys, "_BATCH", 3)
    messages = many_keys(installed, 10)
    [old] = ring(installed)
    told: list[tuple[int, int]] = []
    done = master_keys.rotate(installed.settings, ME, progress=lambda *numbers: told.append(numbers))
    assert (done.is_new, done.resealed, done.remaining, done.damaged) == (True, 10, 0, [])
    assert ring(installed) == [done.current, old]
    assert under() == {done.current: 10}
    published = policy.published(installed.settings)
    assert published is not None
    assert published.master_key_id.hex() == done.current
    assert told == [(3, 10), (6, 10), (9, 10), (10, 10)]
    assert [installed.body_of(message) for message in messages] == ["a message 0"] * 10
    keyring.remove_master_key(installed.settings, old)  # really sealed anew, not only said so
    assert [installed.body_of(message) for message in messages] == ["a message 0"] * 10
    rows = AuditEntry.select().where(AuditEntry.action.startswith("keys.")).order_by(AuditEntry.id)
    assert [(row.action, row.object_id) for row in rows] == [("keys.rotate", done.current), ("keys.reseal", done.current)]


def test_messages_that_are_submitted_during_rotations_are_all_readable_afterwards(installed: Installed) -> None:
    stop, stored, trouble = threading.Event(), [], []

    def master() -> tuple[bytes, bytes]:
        now = policy.published(installed.settings)
        assert now is not None
        return now.master_key_id, now.master_public_key

    def submit() -> None:
        installed.sealer = Sealer(master, 0.01)
        try:
            while not stop.is_set():
                stored.extend(installed.store(3, body="during"))
        except Exception as error:  # noqa: BLE001
            trouble.append(error)
        finally:
            bound.close()

    first = many_keys(installed, 5)
    sender = threading.Thread(target=submit)
    sender.start()
    try:
        for _ in range(3):
            master_keys.rotate(installed.settings, ME)
    finally:
        stop.set()
        sender.join()
    assert not trouble
    done = master_keys.rotate(installed.settings, ME, resume=True)
    assert done.remaining == 0
    for key in ring(installed)[1:]:
        keyring.remove_master_key(installed.settings, key)
    assert {installed.body_of(message) for message in first} == {"a message 0"}
    assert {installed.body_of(message) for message in stored} == {f"during {number}" for number in range(3)}
    assert len(stored) >= 3


KILLED = """
import os, sys, signal
from pathlib import Path
from messagebroker.db import resealing
from messagebroker.db.connection import open_database
from messagebroker.ops import master_keys
from messagebroker.ops.audit import Actor
from messagebroker.settings import load
database, redis, batches = sys.argv[2:]
given = {"database_url": database} if database != "-" else {}
settings = load({}, data_dir=Path(sys.argv[1]), environment="test", redis_url=redis, **given)
open_database(settings)
master_keys._BATCH = 2
replace, left = resealing.replace, int(batches)
def killed(*args):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return replace(*args)
resealing.replace = killed
master_keys.rotate(settings, Actor(name="cli:test"))
"""


@pytest.mark.parametrize("batches", [0, 2])
def test_a_rotation_that_was_killed_is_resumed(
    installed: Installed, tmp_path: Path, database: pw.Database, batches: int
) -> None:
    messages = many_keys(installed, 7)
    [old] = ring(installed)
    words = [str(tmp_path), url_of(database) or "-", installed.settings.redis, str(batches)]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    new = ring(installed)[0]
    assert new != old
    assert under().get(old) == 7 - 2 * batches
    assert {installed.body_of(message) for message in messages} == {"a message 0"}  # in between, too
    resumed = master_keys.rotate(installed.settings, ME, resume=True)
    assert (resumed.current, resumed.is_new, resumed.resealed, resumed.remaining) == (new, False, 7 - 2 * batches, 0)
    published = policy.published(installed.settings)
    assert published is not None
    assert published.master_key_id.hex() == new
    assert {installed.body_of(message) for message in messages} == {"a message 0"}


def test_nothing_is_begun_that_cannot_go_on(installed: Installed, tmp_path: Path) -> None:
    before = ring(installed)
    with pytest.raises(Refused, match="leave --resume out"):
        master_keys.rotate(installed.settings, ME, resume=True)
    away = quiet(tmp_path, redis_url="redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable, match="the policy with the new key could not be published"):
        master_keys.rotate(away, ME)
    assert ring(installed) == before


def test_a_stop_ends_it_between_batches(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master_keys, "_BATCH", 2)
    many_keys(installed, 6)
    stop = threading.Event()
    done = master_keys.rotate(installed.settings, ME, progress=lambda *_: stop.set(), stop=stop)
    assert (done.resealed, done.remaining) == (2, 4)


def test_a_damaged_data_key_is_named_and_holds_up_no_other(installed: Installed) -> None:
    many_keys(installed, 4)
    [bad, *_] = DataKey.select().order_by(DataKey.id)
    DataKey.update(sealed=b"x" * 80).where(DataKey.id == bad.id).execute()
    done = master_keys.rotate(installed.settings, ME)
    assert (done.resealed, done.remaining, done.damaged) == (3, 1, [bytes(bad.id).hex()])


def test_a_late_ingest_of_an_old_call_does_not_undo_what_was_sealed_anew(installed: Installed) -> None:
    sealed, key = installed._record("late", {})
    installed.store_records([sealed], [key])
    done = master_keys.rotate(installed.settings, ME)
    again, _ = installed._record("later", {})
    forget_written_keys()
    installed.store_records([again], [key])  # the call still carries the key as it was sealed then
    assert under() == {done.current: 1}
    assert installed.body_of(again.id) == "later"


def test_of_two_rotations_at_once_neither_undoes_the_other(installed: Installed) -> None:
    [message] = installed.store(1)
    old = bytes.fromhex(ring(installed)[0])
    [(key_id, sealed)] = resealing.next_keys(old, bytes(16), 10)
    done = master_keys.rotate(installed.settings, ME)
    assert resealing.replace([(key_id, sealed)], old, b"the slow") == 0  # it had read the row before
    assert under() == {done.current: 1}
    assert installed.body_of(message) == "a message 0"


# who needs a key, and destroying it


def rotated(installed: Installed) -> str:
    """The key that is retired now."""
    [old] = ring(installed)
    master_keys.rotate(installed.settings, ME)
    return old


def test_a_retired_key_that_nobody_needs_is_destroyed(installed: Installed) -> None:
    messages = installed.store(2)
    old = rotated(installed)
    assert master_keys.needs(installed.settings) == []
    master_keys.destroy(installed.settings, old, ME)
    assert old not in ring(installed)
    assert installed.body_of(messages[0]) == "a message 0"
    assert AuditEntry.get(AuditEntry.action == "keys.destroy").object_id == old
    with pytest.raises(NotFound, match="keys status"):
        master_keys.destroy(installed.settings, old, ME)


def test_the_current_key_is_never_destroyed(installed: Installed) -> None:
    with pytest.raises(Refused, match="is the current master key"):
        master_keys.destroy(installed.settings, ring(installed)[0], ME)


def refusal(installed: Installed, key: str) -> str:
    with pytest.raises(Refused) as caught:
        master_keys.destroy(installed.settings, key, ME)
    assert key in ring(installed)
    assert not AuditEntry.select().where(AuditEntry.action == "keys.destroy").exists()
    return str(caught.value)


def test_data_keys_that_came_late_need_it(installed: Installed) -> None:
    old_sealer = installed.sealer
    old = rotated(installed)
    installed.sealer = old_sealer
    installed.store(3)
    [need] = master_keys.needs(installed.settings)
    assert (need.key, need.by, need.count) == (old, "data keys", 1)
    assert "still needed by 1 data keys: `messagebroker keys rotate --resume` moves data keys" in refusal(installed, old)
    master_keys.rotate(installed.settings, ME, resume=True)
    master_keys.destroy(installed.settings, old, ME)


@pytest.mark.parametrize("state", ["waiting", "running", "dead letter"])
def test_a_queued_call_needs_it(installed: Installed, state: str) -> None:
    sealed, key = installed._record("waits", {"priority": 1})
    with connect(installed.settings) as client:
        pipe = client.pipeline(transaction=True)
        ingest.add_calls(pipe, [sealed], {key.id: key})
        pipe.execute()
        if state == "dead letter":
            for call_id, call in client.hgetall("messagebroker:high.msgs").items():  # type: ignore[union-attr]
                client.hset("messagebroker:high.XQ.msgs", call_id, call)
                client.hdel("messagebroker:high.msgs", call_id)
        broker = setup_broker(installed.settings)
        try:
            message = take(consumer_of(broker, "high")) if state == "running" else None
            old = rotated(installed)
            [need] = master_keys.needs(installed.settings)
            assert (need.key, need.by, need.count) == (old, "queued calls", 1)
            assert "1 queued calls: calls go when workers have stored them" in refusal(installed, old)
            if message is not None:  # and once it is stored, its data key does
                call = decode_call(message.args[0])
                storing.store(call.records, {one.id: one for one in call.keys}, now=clock.now())
                consumer_of(broker, "high").ack(message)
                assert [one.by for one in master_keys.needs(installed.settings)] == ["data keys"]
                master_keys.rotate(installed.settings, ME, resume=True)
                master_keys.destroy(installed.settings, old, ME)
                assert installed.body_of(sealed.id) == "waits"
        finally:
            broker.close()


def test_a_call_that_cannot_be_read_may_need_it(installed: Installed) -> None:
    old = rotated(installed)
    with connect(installed.settings) as client:
        client.hset("messagebroker:low.msgs", "1", b"\xc1 no call")
    assert "1 queued calls (cannot be read, so they may need it)" in refusal(installed, old)


def test_a_failed_record_needs_it(installed: Installed) -> None:
    sealed, key = installed._record("refused", {})
    failures.set_aside(sealed, key, "DataError")
    failures.set_aside_unread(b"\xc1", "no call")  # can never be stored, and so needs nothing
    old = rotated(installed)
    assert "1 failed records: `messagebroker queue retry --all`" in refusal(installed, old)
    failures.retry(sealed.id, Actor(name="cli:test"), None)
    master_keys.rotate(installed.settings, ME, resume=True)
    master_keys.destroy(installed.settings, old, ME)
    assert installed.body_of(sealed.id) == "refused"


def test_a_kept_backup_needs_it(installed: Installed) -> None:
    installed.store(1)
    path = backup.create(installed.settings)
    old = rotated(installed)
    later = backup.create(installed.settings)
    assert backup.verify(path).master_keys == [old]
    assert old not in (backup.verify(later).master_keys or [])
    assert f"needed by backup {path.name}: backups go with their retention" in refusal(installed, old)
    path.unlink()
    master_keys.destroy(installed.settings, old, ME)


@pytest.mark.parametrize("how", ["does not say", "damaged"])
def test_a_backup_that_does_not_say_may_need_it(installed: Installed, how: str) -> None:
    path = backup.create(installed.settings)
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    manifest = msgspec.json.decode(members["manifest.json"])
    del manifest["master_keys"]
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("manifest.json", msgspec.json.encode(manifest))
    if how == "damaged":
        path.write_bytes(b"no zip")
    old = rotated(installed)
    assert f"backup {path.name} ({'is of a program' if how != 'damaged' else 'cannot be read'}" in refusal(installed, old)


def test_without_redis_nobody_can_tell(installed: Installed, tmp_path: Path) -> None:
    old = rotated(installed)
    away = quiet(tmp_path, redis_url="redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable):
        master_keys.destroy(away, old, ME)
    with pytest.raises(Unavailable, match="nobody can tell"):
        master_keys.needs(away)
    assert old in ring(installed)


def test_a_key_that_the_policy_still_names_is_not_destroyed(installed: Installed) -> None:
    [old] = ring(installed)
    keyring.create_master_key(installed.settings)
    assert f"the published policy still names {old}; start main" in refusal(installed, old)
    with redis_py.Redis.from_url(installed.settings.redis) as client:
        client.flushall()
    assert "no policy is published" in refusal(installed, old)


def test_what_proxies_had_in_hand_may_arrive_first(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master_keys, "SETTLING", timedelta(minutes=1))
    assert "try again after" in refusal(installed, rotated(installed))


def test_status_and_keys_that_are_missing(installed: Installed) -> None:
    installed.store(1)
    key = SealedKey(b"z" * 16, b"lostlost", b"s" * 80, clock.micros(clock.now()))
    installed.store_records([record(data_key_id=key.id)], [key])
    old = rotated(installed)
    states = [(one.state, one.data_keys) for one in master_keys.status(installed.settings)]
    assert states == [("current", 1), ("retired", 0), ("missing", 1)]
    assert master_keys.status(installed.settings)[1].id == old


@pytest.mark.clocked
def test_how_fast_data_keys_are_sealed_anew(installed: Installed) -> None:
    [master] = [key for key, _ in keyring.KeyRing.load(installed.settings).keys]
    public = keyring.KeyRing.load(installed.settings).current_public
    made = [SealingKey(public, 300).key for _ in range(400)]
    rows = [
        {"id": key.id, "master_key_id": master, "sealed": key.sealed, "created_at": clock.now(), "last_seen_at": clock.now()}
        for key in made
    ]
    DataKey.insert_many(rows).execute()
    began = time.perf_counter()
    assert master_keys.rotate(installed.settings, ME).resealed == 400
    speed = 400 / (time.perf_counter() - began)
    print(f"{speed:,.0f} data keys a second")
    assert speed > 100
