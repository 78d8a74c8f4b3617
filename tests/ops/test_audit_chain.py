from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path

import peewee as pw
import pytest
from support.audit import AuditEntry, AuditSeal, Log, seals
from support.installed import quiet, url_of

from messagebroker.db import audit_seals
from messagebroker.db.connection import connected
from messagebroker.db.connection import database as bound
from messagebroker.errors import ConfigurationError
from messagebroker.ops import audit, audit_chain, clock, keyring
from messagebroker.ops.audit_chain import Chain, Chainer
from messagebroker.ops.audit_head import Head, HeadFile
from messagebroker.ops.metrics import AUDIT_CHAIN_BROKEN

pytestmark = pytest.mark.clocked


@pytest.fixture
def log(database: pw.Database, tmp_path: Path) -> Log:
    settings = quiet(tmp_path, database_url=url_of(database))
    keyring.first_secrets(settings)
    return Log(settings)


def test_every_row_gets_one_link_in_the_order_of_finding(log: Log) -> None:
    ids = log.sealed(3) + log.sealed(2)
    assert seals() == list(enumerate(ids, 1))
    assert log.chain.seal() == 0
    assert log.verify().good


def test_more_rows_than_one_batch(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_chain, "_BATCH", 7)
    log.write(30)
    assert log.chain.seal() == 30
    log.write(30)
    assert log.chain.seal() == 30
    assert [seq for seq, _ in seals()] == list(range(1, 61))
    assert log.verify().good


def test_a_row_that_is_committed_late_with_a_lower_id_gets_its_link_when_it_appears(log: Log) -> None:
    first, late, last = log.sealed(3)
    content = AuditEntry.select().where(AuditEntry.id == late).dicts().get()
    with connected():
        AuditSeal.delete().execute()
        AuditEntry.delete().where(AuditEntry.id == late).execute()
    log.head_path.unlink()
    assert log.chain.seal() == 2
    AuditEntry.insert(**content).execute()  # its transaction ends only now
    assert log.chain.seal() == 1
    assert seals() == [(1, first), (2, last), (3, late)]
    assert log.verify().good


def test_one_that_is_later_than_every_look_is_found_by_the_sweep(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_chain, "_LATE", 0)
    ids = log.sealed(2)
    with connected():
        AuditSeal.delete().where(AuditSeal.seq == 2).execute()
        AuditSeal.update(audit_id=ids[1]).execute()
    assert Chain(log.settings)._newest() == 0
    assert Chain(log.settings).seal() == 1


def test_two_mains_that_seal_at_once_make_one_chain(log: Log) -> None:
    stop, sealed, trouble = threading.Event(), [0, 0], []

    def seal(number: int, chain: Chain) -> None:
        try:
            while not stop.is_set():
                sealed[number] += chain.seal()
        except Exception as error:  # noqa: BLE001
            trouble.append(error)
        finally:
            bound.close()

    mains = [threading.Thread(target=seal, args=(number, Chain(log.settings))) for number in (0, 1)]
    for main in mains:
        main.start()
    log.write(120)
    deadline = time.monotonic() + 20
    while sum(sealed) < 120 and time.monotonic() < deadline and not trouble:
        time.sleep(0.02)
    stop.set()
    for main in mains:
        main.join()
    transient = [error for error in trouble if "does not answer" not in str(error)]
    assert not transient
    log.chain.seal()
    assert [seq for seq, _ in seals()] == list(range(1, 121))
    assert log.verify().good


def test_the_loser_of_a_race_adds_nothing_and_finds_the_rest_afterwards(log: Log) -> None:
    log.write(2)
    rows = audit_seals.unsealed(0, None, 10)
    assert log.chain.seal() == 2
    assert Chain(log.settings)._add(rows) == 0
    assert len(seals()) == 2


def test_of_two_that_write_down_a_head_the_slower_one_looks_again(log: Log) -> None:
    log.sealed(1)
    file = HeadFile(log.settings)
    first = file.last()
    log.sealed(1)
    assert file.append(Head(2, "00" * 32), after=first) is False
    assert file.last() == audit_chain.head_now()
    assert log.verify().good


def test_a_forged_seal_of_a_row_far_ahead_keeps_nothing_from_being_sealed(log: Log) -> None:
    log.sealed(2)
    AuditSeal.insert(seq=3, audit_id=10**15, mac=bytes(32)).execute()
    ids = log.sealed(2)
    assert seals()[-2:] == [(4, ids[0]), (5, ids[1])]
    assert log.findings()[0] == ("removed", 10**15)


def test_a_running_main_seals_within_two_seconds(log: Log) -> None:
    chainer = Chainer(log.settings)
    chainer.start()
    try:
        time.sleep(0.7)
        log.write(1)
        began = time.monotonic()
        while not seals() and time.monotonic() - began < 5:
            time.sleep(0.02)
        assert time.monotonic() - began < 2
        log.write(1)
    finally:
        chainer.stop()
    assert len(seals()) == 2  # what was written last is sealed before main ends
    assert log.verify().good


def test_a_chain_that_was_cut_off_is_noticed_at_once(log: Log) -> None:
    AUDIT_CHAIN_BROKEN.set(0)
    ids = log.sealed(3)
    AuditEntry.delete().where(AuditEntry.id == ids[-1]).execute()
    AuditSeal.delete().where(AuditSeal.seq == 3).execute()
    log.chain.seal()
    assert AUDIT_CHAIN_BROKEN._value.get() == 1
    assert ("went-back", None) in log.findings()


def test_the_times_of_rows_may_go_back(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.sealed(2)
    earlier = clock.now() - timedelta(hours=3)
    monkeypatch.setattr(clock, "now", lambda: earlier)
    log.sealed(2)
    monkeypatch.undo()
    log.sealed(1)
    assert log.verify().good


def test_without_mains_secret_there_is_no_chain(log: Log) -> None:
    log.settings.path(log.settings.main_secret_path).unlink()
    with pytest.raises(ConfigurationError, match=r"main\.secret"):
        Chain(log.settings)
    audit.record("cli:test", "x", "y", "z")  # still written, and shown as inserted by somebody without the secret
    assert AuditEntry.get().signature is None
