"""Questions to the database server about itself: version, clock, tables, counts, rights."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from messagebroker.db.connection import database, is_mysql
from messagebroker.db.models import Heartbeat


def server() -> str:
    """The server's kind and version, as people say it: "MySQL 9.7.4", "MariaDB 10.11.6", "SQLite 3.45.1"."""
    if not is_mysql():
        return f"SQLite {_one('SELECT sqlite_version()')}"
    version = str(_one("SELECT VERSION()"))
    kind = "MariaDB" if "mariadb" in version.lower() else "MySQL"
    return f"{kind} {version.split('-')[0]}"


def clock() -> datetime:
    """What time the database server thinks it is."""
    if is_mysql():
        moment = _one("SELECT UTC_TIMESTAMP(6)")
    else:
        moment = datetime.fromisoformat(_one("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')"))
    return moment.replace(tzinfo=UTC)


def tables() -> list[str]:
    """Every table of the database."""
    return sorted(database.get_tables())


def count_rows() -> dict[str, int]:
    """Rows of every table, exactly."""
    return {table: int(_one(f"SELECT COUNT(*) FROM {_quoted(table)}")) for table in tables()}  # nosec B608 # noqa: S608


def drop_all_tables() -> None:
    """Leaves an empty database."""
    with database.connection_context():
        off, on = ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys = ON")
        if is_mysql():
            off, on = ("SET FOREIGN_KEY_CHECKS = 0", "SET FOREIGN_KEY_CHECKS = 1")
        database.execute_sql(off)
        for table in tables():
            database.execute_sql(f"DROP TABLE IF EXISTS {_quoted(table)}")
        database.execute_sql(on)


def variable(name: str) -> str | None:
    """A variable of a MySQL server, None where the server has none of that name."""
    row = database.execute_sql("SHOW VARIABLES LIKE %s", (name,)).fetchone()
    return None if row is None else str(row[1])


def encryption() -> str:
    """The TLS version that this connection to a MySQL server uses, empty where it uses none."""
    row = database.execute_sql("SHOW SESSION STATUS LIKE 'Ssl_version'").fetchone()
    return "" if row is None else str(row[1])


def grants() -> list[str]:
    """What a MySQL server says that this user may do."""
    return [str(row[0]) for row in database.execute_sql("SHOW GRANTS").fetchall()]


def default_charset() -> str:
    """The character set that a MySQL database gives to new tables."""
    return str(_one("SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = DATABASE()"))


def tables_in_other_charsets() -> list[str]:
    """Tables of a MySQL database that are not utf8mb4 and may hold more than ASCII."""
    rows = database.execute_sql(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "
        "AND table_type = 'BASE TABLE' AND table_name <> 'migratehistory' AND table_collation NOT LIKE 'utf8mb4%%'"
    )
    return sorted(str(row[0]) for row in rows.fetchall())


def quick_check() -> str:
    """What SQLite thinks of its file: "ok", or the first thing that is wrong."""
    return str(_one("PRAGMA quick_check(1)"))


def running_roles(since: datetime) -> list[Heartbeat]:
    """Processes that have shown themselves since then."""
    if not Heartbeat.table_exists():
        return []
    return list(Heartbeat.select().where(Heartbeat.seen_at > since).order_by(Heartbeat.role, Heartbeat.pid))


def _one(sql: str) -> Any:
    return database.execute_sql(sql).fetchone()[0]


def _quoted(name: str) -> str:
    quote = "`" if is_mysql() else '"'
    return quote + name.replace(quote, quote * 2) + quote
