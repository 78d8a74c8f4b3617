"""Everything that somebody who can write to the database, or to the head file, may do to the audit log."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import peewee as pw
import pytest
from support.audit import AuditEntry, AuditSeal, Log, seals
from support.installed import Installed, forget_written_keys, url_of

from messagebroker.errors import NotFound
from messagebroker.ops import audit, audit_verify, backup, clock
from messagebroker.ops.restore import restore


@pytest.fixture
def log(database: pw.Database, tmp_path: Path) -> Log:
    forget_written_keys()
    made = Installed(tmp_path, database_url=url_of(database))
    log = Log(made.settings)
    log.recovery_key = made.recovery_key  # type: ignore[attr-defined]
    return log


def test_what_is_proven_and_what_not_yet(log: Log) -> None:
    ids = log.sealed(5)
    log.write(1)
    report = log.verify()
    assert report.good
    assert report.proven is not None
    assert (report.proven.rows, report.proven.first_row, report.proven.last_row) == (5, ids[0], ids[-1])
    assert report.proven.since <= report.proven.until <= clock.now()
    assert "the head file of" in report.proven.head
    assert (report.sealed, report.unsealed, report.unproven) == (5, 1, 0)
    assert any("1 rows are not sealed yet" in note for note in report.notes)


CHANGES: dict[str, Any] = {
    "created_at": clock.from_micros(10**15), "actor": "user:somebody@else", "action": "test.act2", "object_type": "thing2",
    "object_id": "x", "address": "192.0.2.8", "user_agent": None, "details": "{}", "signature": bytes(24), "id": 10**6,
}  # fmt: skip


@pytest.mark.parametrize("column", CHANGES)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_every_column_of_a_changed_row(log: Log, column: str, place: int) -> None:
    assert CHANGES.keys() == {field.name for field in AuditEntry._meta.sorted_fields}
    ids = log.sealed(5)
    AuditEntry.update(**{column: CHANGES[column]}).where(AuditEntry.id == ids[place]).execute()
    report = log.verify()
    assert not report.good
    if column == "id":  # the row is gone, and another is there
        assert [(found.kind, found.row) for found in report.findings] == [("removed", ids[place])]
        assert report.unsealed == 1
    else:
        [found] = report.findings
        assert (found.kind, found.row, found.seq) == ("changed", ids[place], place + 1)
        assert (found.before is None) == (place == 4)


def test_a_row_changed_before_it_is_sealed(log: Log) -> None:
    log.sealed(1)
    log.write(1)
    newest = AuditEntry.select().order_by(AuditEntry.id.desc()).get()
    AuditEntry.update(actor="user:somebody@else").where(AuditEntry.id == newest.id).execute()
    assert [kind for kind, _ in log.findings()] == ["inserted"]
    log.chain.seal()
    assert [kind for kind, _ in log.findings()] == ["inserted"]


@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_removed_row(log: Log, place: int) -> None:
    ids = log.sealed(5)
    AuditEntry.delete().where(AuditEntry.id == ids[place]).execute()
    [found] = log.verify().findings
    assert (found.kind, found.row) == ("removed", ids[place])
    assert (found.after is None, found.before is None) == (place == 0, place == 4)


@pytest.mark.parametrize("place", [0, 2])
def test_a_row_removed_with_its_link(log: Log, place: int) -> None:
    ids = log.sealed(5)
    AuditEntry.delete().where(AuditEntry.id == ids[place]).execute()
    AuditSeal.delete().where(AuditSeal.seq == place + 1).execute()
    assert log.findings() == [("seals-missing", None)]


def test_a_row_removed_with_its_link_and_the_others_moved_up(log: Log) -> None:
    ids = log.sealed(4)
    AuditEntry.delete().where(AuditEntry.id == ids[1]).execute()
    AuditSeal.delete().where(AuditSeal.seq == 2).execute()
    for seq in (3, 4):
        AuditSeal.update(seq=seq - 1).where(AuditSeal.seq == seq).execute()
    assert ("changed", ids[2]) in log.findings()
    assert ("removed", None) in log.findings()


@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_removed_link(log: Log, place: int) -> None:
    log.sealed(5)
    AuditSeal.delete().where(AuditSeal.seq == place + 1).execute()
    assert log.findings() == [("seals-missing" if place < 4 else "removed", None)]
    log.sealed(1)  # main takes the row for a new one, which of the last one makes the same link again
    assert log.verify().good == (place == 4)


@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_changed_link(log: Log, place: int) -> None:
    ids = log.sealed(5)
    AuditSeal.update(mac=bytes(32)).where(AuditSeal.seq == place + 1).execute()
    last = [("changed", ids[4]), ("head-differs", None)]  # nothing after it tells which of the two was changed
    assert log.findings() == (last if place == 4 else [("seal-changed", ids[place])])


def test_exchanged_links(log: Log) -> None:
    ids = log.sealed(5)
    for seq, row in ((2, -1), (3, ids[1]), (2, ids[2])):
        AuditSeal.update(audit_id=row).where(AuditSeal.seq == seq).execute()
    assert log.findings() == [("changed", ids[2]), ("changed", ids[1])]


def test_exchanged_rows(log: Log) -> None:
    ids = log.sealed(5)
    for old, new in ((ids[1], 10**6), (ids[2], ids[1]), (10**6, ids[2])):
        AuditEntry.update(id=new).where(AuditEntry.id == old).execute()
    assert log.findings() == [("changed", ids[1]), ("changed", ids[2])]


@pytest.mark.parametrize("signature", [None, bytes(24)])
@pytest.mark.parametrize("sealed", [False, True])
def test_a_row_inserted_by_sql_is_found_though_main_seals_it(log: Log, signature: bytes | None, sealed: bool) -> None:
    log.sealed(3)
    row = AuditEntry.select().dicts().get()
    new_id = AuditEntry.insert(**row | {"id": None, "actor": "user:victim@example.org", "signature": signature}).execute()
    if sealed:
        log.chain.seal()
        log.sealed(2)
    assert log.findings() == [("inserted", new_id)]


def test_a_copy_of_a_row_is_found_though_its_signature_is_good(log: Log) -> None:
    ids = log.sealed(3)
    row = AuditEntry.select().where(AuditEntry.id == ids[1]).dicts().get()
    copy = AuditEntry.insert(**row | {"id": None}).execute()
    log.sealed(1)
    [found] = log.verify().findings
    assert (found.kind, found.row, found.what) == ("inserted", copy, f"row {copy} was inserted: it is a copy of row {ids[1]}")


def test_a_row_inserted_with_a_link(log: Log) -> None:
    log.sealed(3)
    row = AuditEntry.select().dicts().get()
    new_id = AuditEntry.insert(**row | {"id": None, "signature": None}).execute()
    AuditSeal.insert(seq=4, audit_id=new_id, mac=bytes(32)).execute()
    assert log.findings() == [("changed", new_id)]


def test_rows_of_before_there_were_signatures_are_no_findings_later_ones_are(log: Log) -> None:
    for number in range(3):
        AuditEntry.insert(
            created_at=clock.now(), actor="cli:old", action="x", object_type="y", object_id=str(number), signature=None
        ).execute()
    log.sealed(2)
    report = log.verify()
    assert report.good
    assert any("3 rows are older than signatures" in note for note in report.notes)


def test_the_whole_end_removed_rows_and_links(log: Log) -> None:
    ids = log.sealed(3)
    log.sealed(4)
    cut_off(log, 3, ids[-1])
    report = log.verify()
    [found] = report.findings
    assert (found.kind, found.seq) == ("removed", 7)
    assert "the last 4 links of the chain and their rows were removed" in found.what
    assert found.after is not None
    assert found.before is not None
    assert report.proven is not None
    assert report.proven.last_row == ids[-1]


def test_everything_removed(log: Log) -> None:
    log.sealed(3)
    AuditSeal.delete().execute()
    AuditEntry.delete().execute()
    assert log.findings() == [("removed", None)]


def test_the_end_removed_and_the_head_file_cut_off_to_match_a_copy_of_it_tells(log: Log, tmp_path: Path) -> None:
    ids = log.sealed(3)
    text = log.head_path.read_bytes()
    log.sealed(2)
    copy = Path(shutil.copy(log.head_path, tmp_path / "copy.jsonl"))
    cut_off(log, 3, ids[-1])
    log.head_path.write_bytes(text)
    assert log.verify().good  # there is nothing here to tell by; the documents say so
    assert log.findings(head_file=copy) == [("removed", None)]


def test_or_a_backup_tells(log: Log, tmp_path: Path) -> None:
    ids = log.sealed(3)
    text = log.head_path.read_bytes()
    log.sealed(2)
    path = backup.create(log.settings)
    cut_off(log, 3, ids[-1])
    log.head_path.write_bytes(text)
    assert log.findings() == [("removed", None)]
    elsewhere = Path(shutil.move(path, tmp_path / "kept.zip"))
    assert log.verify().good
    [found] = log.verify(from_backup=elsewhere).findings
    assert "the backup kept.zip has link 5, the database ends with 3" in found.what


def test_the_head_file_removed(log: Log, tmp_path: Path) -> None:
    log.sealed(3)
    log.head_path.unlink()
    report = log.verify()
    assert report.good
    assert report.proven is None
    assert report.unproven == 3
    assert any("could have been cut off" in note for note in report.notes)
    with pytest.raises(NotFound):
        log.verify(head_file=tmp_path / "none")


@pytest.mark.parametrize("how", ["changed", "taken out", "added", "exchanged", "beginning taken out"])
def test_lines_of_the_head_file_that_were_tampered_with(log: Log, how: str) -> None:
    for _ in range(4):
        log.sealed(1)
    lines = log.head_path.read_bytes().splitlines(keepends=True)
    match how:
        case "changed":
            lines[1] = lines[1].replace(b'"seq":2', b'"seq":3')
        case "taken out":
            del lines[1]
        case "added":
            lines.append(lines[0])
        case "exchanged":
            lines[1], lines[2] = lines[2], lines[1]
        case _:
            del lines[0]
    log.head_path.write_bytes(b"".join(lines))
    assert "head-file" in dict(log.findings())


def test_a_line_that_a_crash_cut_off_is_none(log: Log) -> None:
    log.sealed(2)
    with log.head_path.open("ab") as file:
        file.write(b'{"body":{"seq":3,"ma')
    log.sealed(2)
    report = log.verify()
    assert report.good
    assert report.proven is not None
    assert report.proven.rows == 4
    assert any("line 2 of" in note for note in report.notes)


def test_a_restored_older_backup_and_new_rows_after_it(log: Log) -> None:
    log.sealed(3)
    path = backup.create(log.settings)
    log.sealed(4)
    later = backup.create(log.settings)  # knows a head that the restore makes void
    restore(log.settings, path, log.recovery_key)  # type: ignore[attr-defined]
    log.sealed(2)
    report = log.verify()
    assert report.good, report.findings
    assert any(f"the backup {path.name} was restored: the log goes on from link 3" in note for note in report.notes)
    assert report.unproven == 0
    restore(log.settings, later, log.recovery_key)  # type: ignore[attr-defined]  # and forward again
    log.sealed(1)
    assert log.verify().good
    ids = [row for _, row in seals()]
    AuditEntry.delete().where(AuditEntry.id == ids[-1]).execute()
    AuditSeal.delete().where(AuditSeal.audit_id == ids[-1]).execute()
    assert log.findings() == [("removed", None)]


def test_an_older_state_brought_back_by_other_means_is_found(log: Log) -> None:
    ids = log.sealed(3)
    log.sealed(2)
    cut_off(log, 3, ids[-1])
    log.sealed(4)  # main goes on: its chain ends further than the one before, and is another
    [found] = log.verify().findings
    assert found.kind == "head-differs"
    assert found.seq == 5


def test_an_older_state_that_people_have_accepted_is_no_finding_any_more(log: Log) -> None:
    ids = log.sealed(3)
    log.sealed(3)
    cut_off(log, 3, ids[-1])
    log.sealed(1)
    assert log.findings() == [("went-back", None)]
    audit_verify.accept(log.settings, audit.Actor(name="cli:ada"), "snapshot of Sunday")
    log.sealed(1)
    report = log.verify()
    assert report.good, report.findings
    assert any("accepted as it is by cli:ada (snapshot of Sunday)" in note for note in report.notes)
    assert any("before that the chain went back from link 6 to 4" in note for note in report.notes)
    AuditEntry.update(actor="x").where(AuditEntry.id == ids[0]).execute()
    assert log.findings() == [("changed", ids[0])]


def test_a_log_that_was_sealed_under_another_secret_says_so(log: Log) -> None:
    log.sealed(3)
    path = log.settings.path(log.settings.main_secret_path)
    path.write_bytes(b"another secret\n")
    report = log.verify()
    assert not report.good
    assert any("another secret sealed this log" in note for note in report.notes)


def test_a_restore_on_another_machine_takes_the_chain_along(log: Log, tmp_path: Path) -> None:
    from support.installed import quiet

    log.sealed(3)
    path = backup.create(log.settings)
    there = quiet(tmp_path / "there", database_url=None if log.settings.is_sqlite else log.settings.database)
    from messagebroker.db import schema
    from messagebroker.db.connection import open_database
    from messagebroker.ops import keyring

    open_database(there)
    schema.upgrade()
    keyring.first_secrets(there)
    Log(there).sealed(0 if not log.settings.is_sqlite else 2)  # with a chain of its own, under another secret
    restore(there, path, log.recovery_key)  # type: ignore[attr-defined]
    moved = Log(there)
    moved.sealed(2)
    report = moved.verify()
    assert report.good, report.findings
    assert report.proven is not None
    assert report.proven.rows == 6  # three, the restore's own row, and two


def test_the_findings_are_kept_in_number(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_verify, "MOST", 2)
    log.sealed(5)
    AuditEntry.update(actor="x").execute()
    report = log.verify()
    assert (len(report.findings), report.findings_total) == (2, 5)
    assert msgspec.json.decode(msgspec.json.encode(report))["findings"][0]["kind"] == "changed"


def test_a_clock_that_was_set_back_between_backup_and_restore_is_no_finding(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.sealed(3)
    old = backup.create(log.settings)
    log.sealed(2)
    backup.create(log.settings)
    earlier = clock.now() - timedelta(days=1)
    monkeypatch.setattr(clock, "now", lambda: earlier)
    restore(log.settings, old, log.recovery_key)  # type: ignore[attr-defined]
    log.sealed(1)
    assert log.verify().good


def test_the_rows_details_hold_text_of_every_kind(log: Log) -> None:
    audit.record("user:ä\U0001f600@x.y", "a", "b", "c  ", None, None, {"text": "\U0001f600\x00 ünï '\"\\ \r\n", "none": None})
    log.chain.seal()
    assert log.verify().good


def cut_off(log: Log, seq: int, row: int) -> None:
    AuditSeal.delete().where(AuditSeal.seq > seq).execute()
    AuditEntry.delete().where(AuditEntry.id > row).execute()
