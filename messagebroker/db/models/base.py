"""The common base of all tables."""

from __future__ import annotations

import peewee as pw

from messagebroker.db.connection import database


class Base(pw.Model):
    """Bound to the process' one database."""

    class Meta:
        database = database
        legacy_table_names = False
