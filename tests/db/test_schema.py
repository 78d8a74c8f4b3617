from __future__ import annotations

import peewee as pw

from messagebroker.db import schema


def test_upgrade_brings_a_new_database_to_the_current_schema(database: pw.Database) -> None:
    assert schema.status().is_current


def test_upgrade_twice_changes_nothing(database: pw.Database) -> None:
    assert schema.upgrade() == schema.upgrade()
