from __future__ import annotations

import errno
import io
import os
import threading
import zipfile
from pathlib import Path
from typing import IO, Any

import peewee as pw
import pytest
from support.installed import Installed, count, forget_written_keys, quiet, url_of

from messagebroker.errors import ConfigurationError, Conflict, NotFound, Refused, Unavailable
from messagebroker.ops import backup, certificates, dump, restore
from messagebroker.ops.archive import Archive, Writer
from messagebroker.settings import Settings


@pytest.fixture
def installed(database: pw.Database, tmp_path: Path) -> Installed:
    forget_written_keys()
    return Installed(tmp_path, database_url=url_of(database))


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Installed:
    """For what does not depend on the database."""
    from messagebroker.db import schema
    from messagebroker.db.connection import open_database

    forget_written_keys()
    open_database(quiet(tmp_path))
    schema.upgrade()
    return Installed(tmp_path)


def test_a_backup_made_while_rows_are_written_restores_to_one_moment(installed: Installed) -> None:
    first = installed.store(200, body="early")
    stop, written = threading.Event(), [200]

    def write() -> None:
        while not stop.is_set():
            installed.store(20)
            written[0] += 20

    writer = threading.Thread(target=write)
    writer.start()
    try:
        path = backup.create(installed.settings)
    finally:
        stop.set()
        writer.join()
    rows = backup.verify(path).rows
    assert 200 <= rows["messages"] <= written[0]
    assert rows["messages"] % 20 == 0  # no transaction was cut in two
    restored = restore.restore(installed.settings, path, installed.recovery_key)
    assert restored.rows == rows
    assert count() == rows["messages"]
    assert installed.body_of(first[7]) == "early 7"


def test_restores_onto_an_empty_database(installed: Installed, database: pw.Database, tmp_path: Path) -> None:
    from messagebroker.db import inspection

    ids = installed.store(30)
    path = backup.create(installed.settings)
    inspection.drop_all_tables()
    restored = restore.restore(installed.settings, path, installed.recovery_key)
    assert restored.database_aside is None  # there was nothing to keep
    assert (count(), installed.body_of(ids[-1])) == (30, "a message 29")


def test_restoring_over_a_database_keeps_a_copy_of_it(installed: Installed) -> None:
    installed.store(10)
    path = backup.create(installed.settings)
    later = installed.store(5, body="later")
    restored = restore.restore(installed.settings, path, installed.recovery_key)
    assert count() == 10
    assert restored.database_aside is not None
    forget_written_keys()
    with Archive(restored.database_aside) as copy:
        dump.load(installed.settings, copy.open(copy.manifest.dump), scratch=path.parent)
    assert (count(), installed.body_of(later[0])) == (15, "later 0")


def test_on_another_machine_everything_comes_back(installed: Installed, tmp_path: Path) -> None:
    bundle = certificates.issue(installed.settings, "acme")
    ids = installed.store(3)
    path = backup.create(installed.settings)
    there = quiet(tmp_path / "there", database_url=installed.settings.database)
    restore.restore(there, path, installed.recovery_key)
    assert (tmp_path / "there" / "certs" / "acme.key").read_bytes() == bundle.key.read_bytes()
    assert certificates.show(there, "acme")[0].serial == bundle.issued.serial
    assert (tmp_path / "there" / "secrets" / "encryption.key").stat().st_mode & 0o077 == 0
    installed.settings = there
    assert installed.body_of(ids[0]) == "a message 0"


def test_no_secret_of_the_installation_is_readable_in_a_backup(on_sqlite: Installed, tmp_path: Path) -> None:
    certificates.issue(on_sqlite.settings, "acme")
    (tmp_path / ".env").write_text("JWT_SECRET=do-not-show-this-secret\n", encoding="utf-8")
    on_sqlite.store(3, body="very private text")
    path = backup.create(on_sqlite.settings)
    secrets = [b"do-not-show-this-secret", b"very private text", b"PRIVATE KEY", on_sqlite.recovery_key.encode()]
    for name in (
        "ca/ca.key",
        "ca/policy.key",
        "certs/acme.key",
        "secrets/encryption.key",
        "secrets/sender.key",
        "secrets/main.secret",
        "secrets/jwt.key",
    ):
        secrets.append((tmp_path / name).read_bytes().strip()[30:90])
    with zipfile.ZipFile(path) as unpacked:
        everything = {name: unpacked.read(name) for name in unpacked.namelist()}
    everything["the file itself"] = path.read_bytes()
    for name, data in everything.items():
        assert not [secret for secret in secrets if secret in data], name
    assert {"ca/ca.key.sealed", "config/.env.sealed", "secrets/jwt.key.sealed", "ca/ca.crt"} <= everything.keys()
    assert path.stat().st_mode & 0o077 == 0


def test_secrets_come_back_with_the_private_half_only(on_sqlite: Installed, tmp_path: Path) -> None:
    before = (tmp_path / "secrets" / "encryption.key").read_bytes()
    path = backup.create(on_sqlite.settings)
    public = (tmp_path / "secrets" / "recovery.pub").read_text(encoding="ascii")
    with pytest.raises(Refused, match="the given one is"):
        restore.restore(on_sqlite.settings, path, public)
    (tmp_path / "secrets" / "encryption.key").unlink()
    restore.restore(on_sqlite.settings, path, on_sqlite.recovery_key)
    assert (tmp_path / "secrets" / "encryption.key").read_bytes() == before


def test_a_wrong_recovery_key_is_refused_before_anything_is_touched(installed: Installed, tmp_path: Path) -> None:
    installed.store(4)
    path = backup.create(installed.settings)
    installed.store(1)
    other = "A" * 43 + "="
    for key, sentence in ((other, "the key that was shown when"), ("no key", "32 bytes"), ("", "32 bytes")):
        with pytest.raises(Refused, match=sentence):
            restore.restore(installed.settings, path, key)
    assert count() == 5
    assert [found.path for found in backup.list_all(installed.settings)] == [path]  # not even a copy was made


@pytest.mark.parametrize("keep", [0, 100, -4000, -10])
def test_a_truncated_backup_is_refused(on_sqlite: Installed, keep: int) -> None:
    path = backup.create(on_sqlite.settings)
    path.write_bytes(path.read_bytes()[:keep])
    on_sqlite.store(1)
    with pytest.raises(Refused, match="cut short"):
        restore.restore(on_sqlite.settings, path, on_sqlite.recovery_key)
    assert count() == 1


def rewrite(path: Path, change: dict[str, bytes | None]) -> None:
    """The same zip with members replaced, added, or (None) left out; a good zip, checksums and all."""
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()} | change
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in members.items():
            if data is not None:
                target.writestr(name, data)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ca/ca.crt": b"another CA"}, "ca/ca.crt in .* was changed"),
        ({"database.sqlite": b"SQLite format 3\0 nearly"}, "database.sqlite in .* was changed"),
        ({"secrets/sender.key.sealed": None}, "lacks secrets/sender.key.sealed"),
        ({"ca/../../etc/evil": b"x"}, "holds ca/../../etc/evil"),
        ({"manifest.json": None}, "has no manifest"),
        ({"manifest.json": b"{}"}, "damaged"),
        ({"manifest.json": b'{"format": 99}'}, "install the newer version"),
    ],
)
def test_a_changed_member_is_refused(on_sqlite: Installed, change: dict[str, bytes | None], sentence: str) -> None:
    on_sqlite.store(2)
    path = backup.create(on_sqlite.settings)
    rewrite(path, change)
    on_sqlite.store(1)
    with pytest.raises(Refused, match=sentence):
        restore.restore(on_sqlite.settings, path, on_sqlite.recovery_key)
    assert count() == 3


def test_a_flipped_byte_anywhere_in_the_dump_is_refused(on_sqlite: Installed) -> None:
    on_sqlite.store(50)
    path = backup.create(on_sqlite.settings)
    good = path.read_bytes()
    with zipfile.ZipFile(path) as unpacked:
        dumped = unpacked.getinfo("database.sqlite")
        contents = unpacked.read("database.sqlite")
    start, end, refused = dumped.header_offset + 100, dumped.header_offset + dumped.compress_size, 0
    for place in range(start, end, (end - start) // 25):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :])
        try:
            backup.verify(path)
        except Refused:
            refused += 1
        else:  # a bit of the compression that stands for nothing
            assert zipfile.ZipFile(path).read("database.sqlite") == contents
    assert refused > 20
    path.write_bytes(good)
    backup.verify(path)


def test_a_backup_of_another_kind_of_database_is_refused(on_sqlite: Installed, tmp_path: Path) -> None:
    path = backup.create(on_sqlite.settings)
    elsewhere = quiet(tmp_path, database_url="mysql://u:p@127.0.0.1/message_system")
    with pytest.raises(Refused, match="another kind"):
        restore.restore(elsewhere, path, on_sqlite.recovery_key)


def test_without_a_recovery_key_no_backup_is_made(on_sqlite: Installed, tmp_path: Path) -> None:
    (tmp_path / "secrets" / "recovery.pub").unlink()
    with pytest.raises(ConfigurationError, match="RECOVERY_KEY_PATH"):
        backup.create(on_sqlite.settings)


def test_a_failed_backup_leaves_nothing_behind(on_sqlite: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(dump, "write", full)
    with pytest.raises(Refused, match=r"no room for backup_\d+_\d+\.zip .* BACKUP_DIR"):
        backup.create(on_sqlite.settings)
    assert list(on_sqlite.settings.path(on_sqlite.settings.backup_dir).iterdir()) == []


def test_a_restore_that_fails_goes_back(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    path = backup.create(installed.settings)
    ids = installed.store(6)
    load_dump, calls = dump.load, []

    def half_at_first(settings: Settings, source: IO[bytes], *rest: Any, **options: Any) -> None:
        calls.append(source)
        data = source.read()
        load_dump(settings, io.BytesIO(data[: len(data) // 2] if len(calls) == 1 else data), *rest, **options)

    monkeypatch.setattr(dump, "load", half_at_first)
    with pytest.raises(Unavailable, match=r"could not be loaded.*again as it was"):
        restore.restore(installed.settings, path, installed.recovery_key)
    assert (count(), installed.body_of(ids[0])) == (6, "a message 0")


def test_the_list_names_every_backup_and_what_is_wrong_with_it(on_sqlite: Installed) -> None:
    on_sqlite.store(2)
    good, bad = backup.create(on_sqlite.settings), backup.create(on_sqlite.settings)
    assert good != bad  # made in the same second
    bad.write_bytes(b"no zip")
    found = {one.path: one for one in backup.list_all(on_sqlite.settings)}
    assert found[good].messages == 2
    assert found[bad].manifest is None
    assert "no backup at all" in (found[bad].problem or "")


def test_two_backups_do_not_write_the_same_file_and_remains_go_after_a_day(on_sqlite: Installed) -> None:
    folder = on_sqlite.settings.path(on_sqlite.settings.backup_dir)
    folder.mkdir()
    young, old = folder / "backup_20300101_000000.zip.partial", folder / "backup_20290101_000000.zip.partial"
    for path in (young, old):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    with pytest.raises(Conflict, match="another backup"), Writer(young.with_suffix(""), None):
        raise AssertionError
    path = backup.create(on_sqlite.settings)
    assert sorted(folder.iterdir()) == sorted([path, young])


def test_a_backup_is_found_by_name_or_by_path(on_sqlite: Installed, tmp_path: Path) -> None:
    path = backup.create(on_sqlite.settings)
    assert backup.find(on_sqlite.settings, path.name) == path
    assert backup.find(on_sqlite.settings, str(path)) == path
    with pytest.raises(NotFound, match="backup list"):
        backup.verify(backup.find(on_sqlite.settings, "backup_20300101_000000.zip"))
