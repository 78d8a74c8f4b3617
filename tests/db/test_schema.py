from __future__ import annotations

import threading
from pathlib import Path

import peewee as pw
import pytest
from support.servers import SqlServer

from messagebroker.db import schema
from messagebroker.db.connection import connected, open_database
from messagebroker.db.models import ALL, Client, User
from messagebroker.errors import ConfigurationError
from messagebroker.settings import load


def test_upgrade_brings_a_new_database_to_the_current_schema(database: pw.Database) -> None:
    assert schema.status().is_current


def test_upgrade_twice_changes_nothing(database: pw.Database) -> None:
    assert schema.upgrade() == schema.upgrade()


def test_of_two_upgrades_at_once_the_second_waits(database: pw.Database) -> None:
    with connected():
        database.drop_tables(ALL)
        database.execute_sql("DROP TABLE migratehistory")
    done: list[schema.SchemaStatus] = []
    second = threading.Thread(target=lambda: done.append(schema.upgrade()))
    with connected(), schema._lock():
        second.start()
        second.join(0.5)
        assert second.is_alive()
        assert not database.get_tables()
    second.join(20)
    assert done[0].is_current


def test_a_schema_of_a_newer_program_is_refused(database: pw.Database) -> None:
    with connected():
        database.execute_sql("INSERT INTO migratehistory (name, migrated_at) VALUES ('999_later', '2030-01-01 00:00:00')")
    for refused in (schema.upgrade, schema.require_current):
        with pytest.raises(ConfigurationError, match=r"999_later.*install the newer version"):
            refused()


def test_the_migrations_make_what_the_models_expect(database: pw.Database) -> None:
    """A migration is frozen, the models are not: together they must still say the same."""
    for model in ALL:
        expected = {field.column_name: field.null for field in model._meta.sorted_fields}
        found = {column.name: column.null for column in database.get_columns(model._meta.table_name)}
        assert found == expected, model
        wanted = {(tuple(fields), unique) for fields, unique in _indexes(model)}
        there = {(tuple(index.columns), bool(index.unique)) for index in database.get_indexes(model._meta.table_name)}
        assert wanted <= there, model


def test_what_the_first_version_stored_is_there_after_the_upgrade(database: pw.Database) -> None:
    with connected():
        database.drop_tables(ALL)
        database.execute_sql("DELETE FROM migratehistory")
        schema._router().run("001_initial")
        now = "2030-01-01 00:00:00"
        columns = "email, password_hash, role, must_change_password, created_at"
        database.execute_sql(f"INSERT INTO users ({columns}) VALUES ('a@b.example', 'x', 'admin', 0, '{now}')")
        database.execute_sql(f"INSERT INTO clients (name, default_topic, created_at) VALUES ('acme', 'messages', '{now}')")
    assert schema.status().missing
    schema.upgrade()
    with connected():
        assert User.get().totp_secret is None
        assert Client.get().group is None


def _indexes(model: type[pw.Model]) -> list[tuple[list[str], bool]]:
    return [
        ([field.column_name for field in index._expressions], bool(index._unique)) for index in model._meta.fields_to_index()
    ]


def test_no_table_has_a_collation_that_only_one_server_knows(sql_server: SqlServer, tmp_path: Path) -> None:
    """Whatever the database's own default is: a dump of MySQL's must load into MariaDB, and back."""
    for number, default in enumerate(("utf8mb4", "latin1")):
        url = sql_server.fresh(f"collation{number}")
        sql_server.execute(f"ALTER DATABASE message_system_collation{number} CHARACTER SET {default}")
        opened = open_database(load({}, data_dir=tmp_path, environment="test", database_url=url))
        schema.upgrade()
        rows = sql_server.execute(
            "SELECT DISTINCT collation_name FROM information_schema.columns "
            f"WHERE table_schema = 'message_system_collation{number}' AND collation_name IS NOT NULL"
        )
        assert {row[0] for row in rows} == {"ascii_bin", "utf8mb4_unicode_ci"}
        opened.close_all()
