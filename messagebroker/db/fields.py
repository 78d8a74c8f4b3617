"""Column types that mean the same on MySQL, MariaDB and SQLite."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import peewee as pw


class AsciiField(pw.CharField):
    """An identity or a word: ASCII, compared byte by byte on every database."""

    field_type = "ASCII_TEXT"

    def ddl_datatype(self, ctx: Any) -> pw.SQL:
        """VARCHAR(n), with the binary ASCII collation where the database has collations."""
        suffix = " CHARACTER SET ascii COLLATE ascii_bin" if _is_mysql(ctx) else ""
        return pw.SQL(f"VARCHAR({self.max_length}){suffix}")


class FixedBytesField(pw.BlobField):
    """Exactly `length` bytes: BINARY(n) on MySQL, BLOB on SQLite."""

    def __init__(self, length: int, **kwargs: Any) -> None:
        self.length = length
        super().__init__(**kwargs)

    def ddl_datatype(self, ctx: Any) -> pw.SQL:
        return pw.SQL(f"BINARY({self.length})" if _is_mysql(ctx) else "BLOB")


class SameTypeForeignKey(pw.ForeignKeyField):
    """A foreign key whose column has the very type of the column it points to (MySQL insists)."""

    def ddl_datatype(self, ctx: Any) -> pw.SQL:
        return self.rel_field.ddl_datatype(ctx)


class BytesField(pw.BlobField):
    """Up to 16 MiB of bytes."""

    def ddl_datatype(self, ctx: Any) -> pw.SQL:
        return pw.SQL("MEDIUMBLOB" if _is_mysql(ctx) else "BLOB")


class UtcField(pw.DateTimeField):
    """A UTC instant with microseconds. Aware datetimes in and out; DATETIME(6) without a zone in the table."""

    def ddl_datatype(self, ctx: Any) -> pw.SQL:
        return pw.SQL("DATETIME(6)" if _is_mysql(ctx) else "DATETIME")

    def db_value(self, value: datetime | None) -> Any:
        if isinstance(value, datetime):
            value = value.astimezone(UTC).replace(tzinfo=None)
            return value.strftime("%Y-%m-%d %H:%M:%S.%f")
        return value

    def python_value(self, value: Any) -> datetime | None:
        value = super().python_value(value)
        return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def _is_mysql(ctx: Any) -> bool:
    return bool(ctx is not None and ctx.state.quote == "``")
