"""Rows that somebody who can write to the database hides from main, so that they can be removed later without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peewee as pw
import pytest
from support.audit import AuditEntry, AuditSeal, Log, check_again, seals, unchecked
from support.installed import quiet, url_of

from messagebroker.db import audit_seals
from messagebroker.ops import audit_recent, keyring
from messagebroker.ops.audit_chain import Chain
from messagebroker.ops.metrics import AUDIT_CHAIN_BROKEN


@pytest.fixture
def log(database: pw.Database, tmp_path: Path) -> Iterator[Log]:
    settings = quiet(tmp_path, database_url=url_of(database))
    keyring.first_secrets(settings)
    AUDIT_CHAIN_BROKEN.set(0)
    yield Log(settings)
    check_again()
    AUDIT_CHAIN_BROKEN.set(0)


def was_noticed() -> bool:
    return AUDIT_CHAIN_BROKEN._value.get() == 1


def row(row_id: int) -> dict[str, Any]:
    found: dict[str, Any] = AuditEntry.select().where(AuditEntry.id == row_id).dicts().get()
    return found


def delete(row_id: int) -> None:
    AuditEntry.delete().where(AuditEntry.id == row_id).execute()
    AuditSeal.delete().where(AuditSeal.audit_id == row_id).execute()


@pytest.mark.parametrize("seq", [0, -1, -(2**63)])
def test_a_forged_row_with_a_link_outside_of_the_chain(log: Log, seq: int) -> None:
    ids = log.sealed(3)
    forged = AuditEntry.insert(**row(ids[1]) | {"id": None, "actor": "user:victim@example.org", "signature": None}).execute()
    unchecked(lambda: AuditSeal.insert(seq=seq, audit_id=forged, mac=bytes(32)).execute())
    assert log.findings() == [("seal-inserted", forged), ("inserted", forged)]
    assert log.chain.seal() == 1
    assert was_noticed()
    assert seals() == [*enumerate(ids, 1), (4, forged)]
    assert log.findings() == [("inserted", forged)]


def test_a_link_outside_of_the_chain_for_a_row_that_is_still_to_come(log: Log) -> None:
    ids = log.sealed(3)
    coming = ids[-1] + 1
    unchecked(lambda: AuditSeal.insert(seq=-6, audit_id=coming, mac=bytes(32)).execute())
    assert log.findings() == [("seal-inserted", coming)]
    assert log.sealed(2)[0] == coming
    assert was_noticed()
    delete(coming)
    assert log.findings() == [("seals-missing", None)]


def test_one_that_comes_while_main_seals_does_not_stop_it(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.sealed(1)
    log.write(3)
    real, asked = audit_seals.unsealed, []

    def unsealed(*given: Any) -> list[audit_seals.Row]:
        found = real(*given)
        asked.append(given)
        assert len(asked) < 10, "main asks for ever"
        if len(asked) == 1:
            unchecked(lambda: AuditSeal.insert(seq=-1, audit_id=found[1]["id"], mac=bytes(32)).execute())
        return found

    monkeypatch.setattr(audit_seals, "unsealed", unsealed)
    assert log.chain.seal() == 3
    assert was_noticed()
    assert log.verify().good


def test_the_database_refuses_such_links_where_it_can(log: Log) -> None:
    with pytest.raises(pw.DatabaseError):
        AuditSeal.insert(seq=0, audit_id=1, mac=bytes(32)).execute()


def lend(seq: int, row_id: int) -> None:
    AuditSeal.update(audit_id=row_id).where(AuditSeal.seq == seq).execute()


@pytest.mark.parametrize("looks", [0, 1, 2])
@pytest.mark.parametrize("old_row_is_away", [False, True])
def test_the_link_of_an_old_row_lent_to_one_that_is_still_to_come(log: Log, looks: int, old_row_is_away: bool) -> None:
    ids = log.sealed(5)
    first, coming = row(ids[1]), ids[-1] + 1
    if old_row_is_away:
        AuditEntry.delete().where(AuditEntry.id == ids[1]).execute()
    lend(2, coming)
    for _ in range(looks):
        log.chain.seal()
    log.write(1, action="message.open")
    log.chain.seal()
    assert was_noticed()
    assert AuditSeal.get(AuditSeal.audit_id == coming).seq > 5  # sealed like every other
    delete(coming)
    if old_row_is_away:
        AuditEntry.insert(**first).execute()
    if not AuditSeal.select().where(AuditSeal.audit_id == ids[1]).exists():
        lend(2, ids[1])
    assert not log.verify().good


def test_the_link_of_an_old_row_lent_to_one_that_is_committed_late(log: Log) -> None:
    ids = log.sealed(5)
    late, old = row(ids[3]), row(ids[0])
    delete(ids[3])
    log.head_path.unlink()
    log.chain = Chain(log.settings)  # begins where row 4 is not committed yet, and its number was never given out
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log.chain, "_sweep_at", float("inf"))
        log.chain.seal()
        AuditEntry.delete().where(AuditEntry.id == old["id"]).execute()
        lend(1, ids[3])
        AuditEntry.insert(**late).execute()
        log.chain.seal()
    assert was_noticed()
    assert AuditSeal.get(AuditSeal.audit_id == ids[3]).seq == 6


def test_an_id_that_is_given_out_again_has_no_link_yet(log: Log) -> None:
    ids = log.sealed(5)
    newest = row(ids[-1])
    AuditEntry.delete().where(AuditEntry.id == ids[-1]).execute()
    log.write(1, action="message.open")
    hidden = AuditEntry.select().order_by(AuditEntry.id.desc()).get()
    AuditEntry.update(id=ids[-1]).where(AuditEntry.id == hidden.id).execute()  # as SQLite gives it by itself
    log.chain.seal()
    assert was_noticed()
    assert AuditSeal.get(AuditSeal.audit_id == ids[-1]).seq == 6 or not log.verify().good
    delete(ids[-1])
    AuditEntry.insert(**newest).execute()
    assert not log.verify().good


@pytest.mark.parametrize("seq", [6, 10**6, 2**63 - 1])
def test_a_link_beyond_the_end_is_on_record_when_it_is_gone_again(log: Log, seq: int) -> None:
    ids = log.sealed(5)
    coming = ids[-1] + 1
    AuditSeal.insert(seq=seq, audit_id=coming, mac=bytes(32)).execute()
    log.write(1, action="message.open")
    if seq < 2**63 - 1:
        log.chain.seal()
    else:
        log.write(1)
        with pytest.raises(Exception, match=r"(?i)too large|out of range"):
            log.chain.seal()
    assert was_noticed()
    delete(coming)
    log.sealed(1)
    assert not log.verify().good


def test_two_mains_and_a_restart_take_no_right_link_for_a_forged_one(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_recent, "_ROWS", 3)
    other = Chain(log.settings)
    for turn in range(6):
        log.write(2)
        (log.chain if turn % 2 else other).seal()
        (other if turn % 3 else Chain(log.settings)).seal()
    assert not was_noticed()
    gone = [row(seal) for _, seal in seals()[-4:]]
    for one in gone:
        AuditEntry.delete().where(AuditEntry.id == one["id"]).execute()
    log.chain.seal()  # older rows are among the newest again
    for one in gone:
        AuditEntry.insert(**one).execute()
    log.chain.seal()
    assert not was_noticed()
    assert log.verify().good


@pytest.mark.parametrize("far", [10**15, -(10**15), 2**63 - 1, -(2**63)])
def test_ids_that_lie_far_apart_hold_nothing_up(log: Log, far: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = log.sealed(2)
    AuditEntry.insert(**row(ids[0]) | {"id": far}).execute()
    early = AuditEntry.insert(**row(ids[0]) | {"id": ids[-1] + 1}).execute()
    real, asked = audit_seals.unsealed, []

    def unsealed(*given: Any) -> list[audit_seals.Row]:
        asked.append(given)
        assert len(asked) < 20, "this takes for ever"
        return real(*given)

    monkeypatch.setattr(audit_seals, "unsealed", unsealed)
    assert len(log.findings()) == 2
    assert Chain(log.settings).seal() == 2
    assert {(kind, copy) for kind, copy in log.findings()} >= {("inserted", max(far, early))}


def test_parts_of_the_log_hold_every_row_once(log: Log) -> None:
    log.write(25)
    ids = [one.id for one in AuditEntry.select().order_by(AuditEntry.id)]
    found: list[int] = []
    for after, until in audit_seals.windows(7):
        found += [one["id"] for one in audit_seals.unsealed(after, until, 100)]
    assert found == ids
