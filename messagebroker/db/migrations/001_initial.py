"""The first schema: every table of `db/models.py` as of version 0.1."""

from typing import Any

import peewee as pw

from messagebroker.db import models

_MYSQL_TABLE = ["ENGINE=InnoDB", "CHARACTER SET utf8mb4", "COLLATE utf8mb4_unicode_ci"]


def migrate(migrator: Any, database: pw.Database, *, fake: bool = False) -> None:
    """Creates the tables; on MySQL in utf8mb4, whatever the database's own default is."""
    for model in models.ALL:
        migrator.run(_create, database, model)


def _create(database: pw.Database, model: type[pw.Model]) -> None:
    on_mysql = isinstance(database, pw.MySQLDatabase)
    model._meta.table_settings = _MYSQL_TABLE if on_mysql else None
    model.create_table(safe=True)


def rollback(migrator: Any, database: pw.Database, *, fake: bool = False) -> None:
    """Drops them again, the dependent ones first."""
    for model in reversed(models.ALL):
        migrator.run(model.drop_table, safe=True)
