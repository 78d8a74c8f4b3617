"""One database object for a process, from DATABASE_URL; every model is bound to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peewee as pw
import pymysql
from playhouse.pool import MaxConnectionsExceeded, PooledMySQLDatabase

from messagebroker.db.address import Address
from messagebroker.errors import Unavailable
from messagebroker.settings import Settings

database = pw.DatabaseProxy()
_opened_with: Settings | None = None

_LOST_NUMBERS = frozenset({
    0, 1021, 1026, 1037, 1038, 1040, 1041, 1047, 1053, 1114, 1129, 1135, 1152, 1158, 1159, 1160, 1161, 1180, 1203, 1205,
    1206, 1213, 1226, 1290, 1317, 1598, 1836, 1927, 1969, 2002, 2003, 2006, 2013, 2014, 2055, 3024, 3032, 3100, 3101, 3168,
    3169, 4031,
})  # fmt: skip
"""MySQL's and MariaDB's numbers for: gone, too busy, full, read-only, offline, shutting down, stopped by an operator or by
its cluster, lock wait or deadlock."""


class NoDatabase(Unavailable):
    """The SQLite file that the settings name is not there; nothing but an upgrade makes it."""

    def __init__(self, path: Path) -> None:
        folder = "" if path.parent.exists() else f" (the folder {path.parent} does not exist)"
        super().__init__(
            f"there is no database {path}{folder}; correct DATABASE_URL or DATA_DIR, or make it with `messagebroker db upgrade`"
        )
        self.path = path


class SQLite(pw.SqliteDatabase):
    """SQLite that never makes a file by being asked: a typing error in a path must not look like an empty database."""

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.database).absolute()

    def _connect(self) -> Any:
        if not self.path.exists():
            raise NoDatabase(self.path)
        return super()._connect()  # type: ignore[misc]


class MySQL(PooledMySQLDatabase):
    """MySQL or MariaDB through PyMySQL, pooled; every session is strict, in UTC, READ COMMITTED."""

    _session = (
        "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,NO_ENGINE_SUBSTITUTION'",
        # MySQL would rather skip through an index of few different values, and sort, than read a page in order
        "SET optimizer_switch = IF(LOCATE('skip_scan=', @@optimizer_switch), 'skip_scan=off', '')",  # MariaDB has none
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",  # claims must see what others committed
    )

    def _connect(self) -> Any:
        connection = super()._connect()
        if not getattr(connection, "session_is_set", False):  # pooled ones have it already
            with connection.cursor() as cursor:
                for statement in self._session:
                    cursor.execute(statement)
            connection.session_is_set = True
        return connection


def open_database(settings: Settings) -> pw.Database:
    """Binds the models to the database that the settings name; connects lazily.

    Raises:
        ConfigurationError: for a URL that names no database, or says something that is not known.
    """
    global _opened_with  # noqa: PLW0603 - as `database`: one for the process
    made = _sqlite(settings) if settings.is_sqlite else _mysql(settings)
    database.initialize(made)
    _opened_with = settings
    return made


def opened_with() -> Settings | None:
    """The settings of this process' database; None before it is opened."""
    return _opened_with


def _sqlite(settings: Settings) -> pw.Database:
    return SQLite(
        settings.database.removeprefix("sqlite:///"),
        timeout=10,
        cached_statements=0,  # 128 by default, and an ingest's statement may have 900 kB
        pragmas={"journal_mode": "wal", "synchronous": "full", "foreign_keys": 1, "cache_size": -16000},
    )


def _mysql(settings: Settings) -> pw.Database:
    address = Address.of(settings)
    return MySQL(
        address.name,
        host=address.host,
        port=address.port,
        user=address.user,
        password=address.password.encode(),  # PyMySQL would send text as Latin-1; the server hashed UTF-8
        unix_socket=address.unix_socket,
        **_verified(address),
        charset="utf8mb4",
        connect_timeout=settings.database_connect_timeout,
        read_timeout=60,
        write_timeout=60,
        max_connections=settings.database_pool_size,
        stale_timeout=300,
        timeout=10,
    )


def _verified(address: Address) -> dict[str, Any]:
    """Without a CA, TLS is used where the server has it, and its certificate is not checked."""
    if address.ssl_ca is None:
        return {}
    return {"ssl_ca": str(address.ssl_ca), "ssl_verify_cert": True, "ssl_verify_identity": True}


def is_mysql() -> bool:
    """True on MySQL and MariaDB, false on SQLite."""
    return isinstance(database.obj, pw.MySQLDatabase)


def error_number(error: pw.PeeweeException) -> int | None:
    """MySQL's number of an error that peewee wrapped, None where there is none."""
    for candidate in (error, error.__cause__, error.__context__, getattr(error, "orig", None)):
        if isinstance(candidate, pymysql.MySQLError | pw.PeeweeException):
            first = next(iter(candidate.args), None)
            if isinstance(first, int):
                return first
    return None


def is_outage(error: BaseException) -> bool:
    """Whether the server is gone, full or too busy, so that the same statement may succeed later."""
    if isinstance(error, Unavailable | MaxConnectionsExceeded | pw.InterfaceError):
        return True
    if not isinstance(error, pw.PeeweeException):
        return False
    if not is_mysql():
        return isinstance(error, pw.OperationalError) and any(
            text in str(error) for text in ("locked", "unable to open", "disk is full", "disk I/O", "readonly")
        )
    number = error_number(error)
    return _is_about_the_connection(error) if number is None else number in _LOST_NUMBERS


def _is_about_the_connection(error: pw.PeeweeException) -> bool:
    """What PyMySQL raises without a number: it could not make sense of what the server sent. The server says numbers."""
    return isinstance(getattr(error, "orig", None), pymysql.err.InternalError | pymysql.err.OperationalError)


def unavailable(error: BaseException) -> Unavailable:
    """What people read about an outage: which database, why, and the next step. Never the password."""
    if isinstance(error, MaxConnectionsExceeded):
        reason, step = "this process has all its connections in use", "DATABASE_POOL_SIZE allows more"
    else:
        numbered = len(error.args) > 1 and isinstance(error.args[0], int)  # MySQL's errors are (number, text)
        reason = (f"{error.args[1]}" if numbered else str(error)) or "the connection is gone"
        step = "start it, or correct DATABASE_URL"
    return Unavailable(f"the database {_place()} (DATABASE_URL) does not answer: {reason}; {step}")


def _place() -> str:
    """HOST:PORT/NAME, or the file."""
    bound = database.obj
    if isinstance(bound, SQLite):
        return str(bound.path)
    given = bound.connect_params
    return f"{given.get('unix_socket') or '{host}:{port}'.format(**given)}/{bound.database}"


@contextmanager
def connected() -> Iterator[None]:
    """A connection for the block, given back to the pool after the outermost one (every thread has its own).

    Raises:
        Unavailable: when the database does not answer.
    """
    try:
        if not database.is_closed():
            yield
            return
        database.connect()
        try:
            yield
        finally:
            database.close()  # nothing where it was given up in between (`writing.py`), which peewee's own block does not bear
    except (pw.PeeweeException, MaxConnectionsExceeded) as error:
        if not is_outage(error):
            raise
        raise unavailable(error) from error
