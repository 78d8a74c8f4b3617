"""Transactions of threads that use the database all the time and so keep their connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import peewee as pw
from playhouse.pool import MaxConnectionsExceeded, PooledDatabase

from messagebroker.db.connection import database, is_mysql, is_outage, unavailable


@contextmanager
def kept_connection() -> Iterator[None]:
    """The thread's own connection, kept open after the block: a pool's check-out and check-in cost a round trip each.

    Raises:
        Unavailable: when the database does not answer; the connection is given up, the next call makes a new one.
    """
    try:
        database.connect(reuse_if_open=True)
        yield
    except (pw.PeeweeException, MaxConnectionsExceeded) as error:
        if not is_outage(error):
            raise
        give_up_connection()
        raise unavailable(error) from error


@contextmanager
def writing() -> Iterator[None]:
    """One transaction on the kept connection; inside of another one, a part of that, which fails as a whole.

    On SQLite it takes the write lock at once: a reader that turns writer may be refused without waiting.

    Raises:
        Unavailable: when the database does not answer. The commit itself may have happened.
    """
    if database.in_transaction():  # no savepoint: a deadlock ends it too, and the error would be that it is not there
        yield
        return
    with kept_connection(), database.atomic() if is_mysql() else database.atomic("IMMEDIATE"):
        yield


def give_up_connection() -> None:
    """Closes this thread's connection for good."""
    with suppress(pw.PeeweeException):
        if isinstance(database.obj, PooledDatabase):
            database.manual_close()
        else:
            database.close()


def time_now() -> pw.SQL:
    """The database's own time as an expression, comparable with every UtcField."""
    return pw.SQL("UTC_TIMESTAMP(6)" if is_mysql() else "strftime('%Y-%m-%d %H:%M:%f000', 'now')")
