from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import peewee as pw
import pytest
from support.installed import Installed, count, forget_written_keys, quiet, url_of

from messagebroker.db import schema
from messagebroker.db.connection import connected, database, open_database
from messagebroker.db.models import AuditEntry, Certificate, Heartbeat
from messagebroker.errors import ConfigurationError, Refused
from messagebroker.ops import backup, certificates, keyring, policy, ports
from messagebroker.ops.heartbeats import Heart
from messagebroker.ops.keyring import KeyRing
from messagebroker.ops.policy import publish
from messagebroker.ops.ports import Holder
from messagebroker.ops.redis_client import POLICY, connect
from messagebroker.ops.restore import Plan, Restore, restore
from messagebroker.ops.restore_files import merge_master_keys
from messagebroker.ops.snapshot import verify


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    return on_sqlite(tmp_path)


def on_sqlite(folder: Path, **overrides: object) -> Installed:
    forget_written_keys()
    open_database(quiet(folder))
    schema.upgrade()
    return Installed(folder, **overrides)


def published(installed: Installed) -> policy.Policy:
    from messagebroker.ops.ca_folder import CaFolder

    data = connect(installed.settings).get(POLICY)
    assert isinstance(data, bytes)
    return verify(data, CaFolder(installed.settings).ca.certificate)


def test_a_restored_backup_does_not_un_revoke(database: pw.Database, tmp_path: Path, redis_url: str) -> None:
    forget_written_keys()
    installed = Installed(tmp_path, database_url=url_of(database), redis_url=redis_url)
    serial = certificates.issue(installed.settings, "thief").issued.serial
    path = backup.create(installed.settings)
    number = certificates.revoke(installed.settings, "thief", "stolen")
    restore(installed.settings, path, installed.recovery_key)
    row = Certificate.get_by_id(serial)
    assert (row.revoked_reason, row.revoked_at is not None) == ("stolen", True)
    now = published(installed)
    assert serial in now.revoked
    assert now.number > number


def test_what_only_redis_knows_to_be_revoked_stays_revoked(tmp_path: Path, redis_url: str) -> None:
    """The database and the CA's folder are lost, a new machine starts from the backup."""
    installed = on_sqlite(tmp_path / "first", redis_url=redis_url)
    serial = certificates.issue(installed.settings, "thief").issued.serial
    path = backup.create(installed.settings)
    certificates.revoke(installed.settings, "thief", "stolen")
    there = quiet(tmp_path / "second", redis_url=redis_url)
    open_database(there)
    done = restore(there, path, installed.recovery_key)
    assert done.notes == ()
    assert serial in published(installed).revoked
    assert Certificate.get_by_id(serial).revoked_at is not None


def test_what_was_published_without_redis_is_said(tmp_path: Path) -> None:
    installed = on_sqlite(tmp_path, redis_url="redis://127.0.0.1:1/0")
    path = backup.create(installed.settings)
    done = restore(installed.settings, path, installed.recovery_key)
    assert "the policy was not published" in done.notes[0]


def test_running_roles_are_refused_unless_forced(installed: Installed) -> None:
    installed.store(1)
    path = backup.create(installed.settings)
    installed.store(1)
    heart = Heart("worker")
    heart.start()
    try:
        with pytest.raises(Refused, match=r"worker on .* still run; stop all roles first"):
            restore(installed.settings, path, installed.recovery_key)
        assert count() == 2
        restore(installed.settings, path, installed.recovery_key, force=True)
        assert count() == 1
    finally:
        heart.stop()


def test_a_worker_that_ran_through_a_forced_restore_stores_what_can_be_opened(
    database: pw.Database, tmp_path: Path, redis_url: str
) -> None:
    """It believes that its data key is in the database, and the backup is older."""
    forget_written_keys()
    installed = Installed(tmp_path, database_url=url_of(database), redis_url=redis_url)
    path = backup.create(installed.settings)
    installed.store(1)
    restore(installed.settings, path, installed.recovery_key, force=True)
    [message_id] = installed.store(1, "after the restore")
    assert installed.body_of(message_id) == "after the restore 0"


def test_a_role_that_listens_here_is_running_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxy and portal have no heartbeat."""
    installed = on_sqlite(tmp_path, proxy_port=18001)
    path = backup.create(installed.settings)
    monkeypatch.setattr(ports, "holder", lambda port: Holder(7, "python", "proxy") if port == 18001 else None)
    with pytest.raises(Refused, match=r"proxy on .* \(pid 7\) still run"):
        restore(installed.settings, path, installed.recovery_key)
    monkeypatch.setattr(ports, "holder", lambda port: Holder(8, "nginx"))
    restore(installed.settings, path, installed.recovery_key)


def test_a_role_that_beats_and_listens_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = on_sqlite(tmp_path, main_server_port=18000)
    path = backup.create(installed.settings)
    monkeypatch.setattr(ports, "holder", lambda port: Holder(os.getpid(), "python", "main") if port == 18000 else None)
    heart = Heart("main")
    heart.beat()
    with Restore(installed.settings, path, installed.recovery_key) as work:
        assert work.plan.running == (f"main on {socket.gethostname()} (pid {os.getpid()})",)


def test_a_database_of_a_newer_program_goes_back(installed: Installed) -> None:
    """The way back from an upgrade: the old program, and the backup of before."""
    installed.store(1)
    path = backup.create(installed.settings)
    with connected():
        database.execute_sql("CREATE TABLE later (number INTEGER)")
        database.execute_sql("INSERT INTO migratehistory (name, migrated_at) VALUES ('999_later', '2030-01-01 00:00:00')")
    with pytest.raises(ConfigurationError, match="999_later"):
        schema.require_current()
    done = restore(installed.settings, path, installed.recovery_key)
    assert done.database_aside is not None
    schema.require_current()
    assert not database.table_exists("later")
    assert count() == 1


def test_a_backup_comes_back_where_there_is_no_database_yet(tmp_path: Path) -> None:
    installed = on_sqlite(tmp_path / "old")
    installed.store(2)
    path = backup.create(installed.settings)
    settings = quiet(tmp_path / "new", backup_dir=tmp_path / "backups")
    open_database(settings)
    with Restore(settings, path, installed.recovery_key) as work:
        assert work.plan.rows_now == {}
        assert not (tmp_path / "new").exists()
        assert work.carry_out("cli").database_aside is None
    assert count() == 2


def test_nothing_changes_when_the_answer_is_no(installed: Installed) -> None:
    path = backup.create(installed.settings)
    installed.store(2)
    plans: list[Plan] = []

    def say_no(plan: Plan) -> bool:
        plans.append(plan)
        return False

    with pytest.raises(Refused, match="nothing was changed"):
        restore(installed.settings, path, installed.recovery_key, confirm=say_no)
    assert (plans[0].manifest.rows["messages"], plans[0].rows_now["messages"]) == (0, 2)
    assert count() == 2


def test_processes_of_the_time_of_the_backup_are_forgotten(installed: Installed) -> None:
    heart = Heart("scheduler")
    heart.beat()
    path = backup.create(installed.settings)
    restore(installed.settings, path, installed.recovery_key, force=True)
    assert Heartbeat.select().count() == 0


def test_the_restore_is_in_the_audit_log(installed: Installed) -> None:
    path = backup.create(installed.settings)
    restore(installed.settings, path, installed.recovery_key, actor="cli:anna")
    entry = AuditEntry.get()
    assert (entry.actor, entry.action, entry.object_id) == ("cli:anna", "backup.restore", path.name)


def test_master_keys_made_since_the_backup_stay(installed: Installed) -> None:
    path = backup.create(installed.settings)
    old_id = KeyRing.load(installed.settings).current_public[0]
    new_id = keyring.create_master_key(installed.settings)
    done = restore(installed.settings, path, installed.recovery_key)
    assert [key_id for key_id, _ in KeyRing.load(installed.settings).keys] == [new_id, old_id]
    assert done.files_aside is None  # merging changed nothing here: every key of the backup is still known


def test_master_keys_of_two_rings_are_merged() -> None:
    here, there = [{"id": "b"}, {"id": "a"}], [{"id": "c"}, {"id": "a"}]
    merged = json.loads(merge_master_keys(json.dumps(here).encode(), json.dumps(there).encode()))
    assert [entry["id"] for entry in merged] == ["b", "a", "c"]
    assert merge_master_keys(b"not a ring", b"[]") == b"[]"


def test_certificates_renewed_since_the_backup_stay(installed: Installed) -> None:
    bundle = certificates.issue(installed.settings, "main", kind="component")
    path = backup.create(installed.settings)
    certificates.renew(installed.settings, "main")
    renewed = bundle.key.read_bytes(), bundle.certificate.read_bytes()
    restore(installed.settings, path, installed.recovery_key)
    assert (bundle.key.read_bytes(), bundle.certificate.read_bytes()) == renewed
    bundle.key.unlink()  # then the backup's key would not match
    restore(installed.settings, path, installed.recovery_key)
    assert not bundle.key.exists()
    bundle.certificate.unlink()
    restore(installed.settings, path, installed.recovery_key)
    assert bundle.key.exists()


def test_the_ca_of_a_new_machine_makes_way(tmp_path: Path, redis_url: str) -> None:
    installed = on_sqlite(tmp_path / "first", redis_url=redis_url)
    path = backup.create(installed.settings)
    theirs = (tmp_path / "first" / "ca" / "ca.crt").read_bytes()
    fresh = on_sqlite(tmp_path / "second", redis_url=redis_url)
    publish(fresh.settings)
    certificates.issue(fresh.settings, "stranger")
    ours = (tmp_path / "second" / "ca" / "ca.key").read_bytes()
    done = restore(fresh.settings, path, installed.recovery_key)
    assert (tmp_path / "second" / "ca" / "ca.crt").read_bytes() == theirs
    assert (tmp_path / "second" / "certs" / "ca.crt").read_bytes() == theirs
    assert not (tmp_path / "second" / "certs" / "stranger.key").exists()
    assert done.files_aside is not None
    assert (done.files_aside / "ca" / "ca.key").read_bytes() == ours
    assert done.notes == ()
    assert not Certificate.select().where(Certificate.name == "stranger").exists()


def test_the_env_file_in_force_stays_and_the_old_one_lies_beside_it(installed: Installed, tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("RETENTION_DAYS=30\n", encoding="utf-8")
    path = backup.create(installed.settings)
    env.write_text("RETENTION_DAYS=60\n", encoding="utf-8")
    restore(installed.settings, path, installed.recovery_key)
    assert env.read_text(encoding="utf-8") == "RETENTION_DAYS=60\n"
    assert (tmp_path / ".env.restored").read_text(encoding="utf-8") == "RETENTION_DAYS=30\n"
    env.unlink()
    restore(installed.settings, path, installed.recovery_key)
    assert env.read_text(encoding="utf-8") == "RETENTION_DAYS=30\n"


def test_a_backup_of_a_newer_program_is_refused(installed: Installed) -> None:
    path = backup.create(installed.settings)
    from messagebroker.db.connection import database

    database.execute_sql("INSERT INTO migratehistory (name, migrated_at) VALUES ('099_later', '2030-01-01')")
    newer = backup.create(installed.settings)
    database.execute_sql("DELETE FROM migratehistory WHERE name = '099_later'")
    with pytest.raises(Refused, match=r"099_later.*install version"):
        restore(installed.settings, newer, installed.recovery_key)
    restore(installed.settings, path, installed.recovery_key)
