"""Write transactions for threads that write all the time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import peewee as pw
from playhouse.pool import MaxConnectionsExceeded, PooledDatabase

from messagebroker.db.connection import database, is_mysql, is_outage
from messagebroker.errors import Unavailable


@contextmanager
def writing() -> Iterator[None]:
    """One transaction; the thread keeps its connection for the next one (a pool's check-out costs two round trips).

    On SQLite it takes the write lock at once: a reader that turns writer may be refused without waiting.

    Raises:
        Unavailable: when the database does not answer; the connection is given up, the next call makes a new one.
    """
    try:
        database.connect(reuse_if_open=True)
        with database.atomic() if is_mysql() else database.atomic("IMMEDIATE"):
            yield
    except (pw.PeeweeException, MaxConnectionsExceeded) as error:
        if not is_outage(error):
            raise
        give_up_connection()
        raise Unavailable(f"the database does not answer: {error}") from error


def give_up_connection() -> None:
    """Closes this thread's connection for good."""
    with suppress(pw.PeeweeException):
        if isinstance(database.obj, PooledDatabase):
            database.manual_close()
        else:
            database.close()
