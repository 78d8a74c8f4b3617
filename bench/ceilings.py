"""What the machine could do at the most: the same rows, the same Redis, the same server, without the product."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import pymysql
import redis

Row = tuple[Any, ...]
ROWS_A_TRANSACTION = 500


def connect(url: str) -> Any:
    """A plain PyMySQL connection to the database that DATABASE_URL names."""
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port,
        user=parts.username,
        password=parts.password,
        database=parts.path[1:],
        charset="utf8mb4",
    )


def columns_and_rows(url: str, most: int) -> tuple[list[str], list[Row]]:
    """Rows that the product itself stored: what the ceilings insert again."""
    connection = connect(url)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM messages LIMIT {most}")  # nosec B608
        columns = [item[0] for item in cursor.description]
        rows = list(cursor.fetchall())
    connection.close()
    return columns, rows


def empty_table(url: str) -> None:
    """Removes every message, quickly (TRUNCATE refuses tables that a foreign key points to)."""
    connection = connect(url)
    with connection.cursor() as cursor:
        cursor.execute("SET foreign_key_checks = 0")
        cursor.execute("TRUNCATE TABLE messages")
    connection.close()


def executemany(url: str, columns: Sequence[str], rows: Sequence[Row]) -> float:
    """Rows a second with PyMySQL's executemany on one connection, a transaction for every 500 rows."""
    statement = f"INSERT INTO messages ({','.join(columns)}) VALUES ({','.join(['%s'] * len(columns))})"  # nosec B608
    connection = connect(url)
    started = time.perf_counter()
    with connection.cursor() as cursor:
        for start in range(0, len(rows), ROWS_A_TRANSACTION):
            cursor.executemany(statement, rows[start : start + ROWS_A_TRANSACTION])
            connection.commit()
    seconds = time.perf_counter() - started
    connection.close()
    return len(rows) / seconds


def prepared_statements(columns: Sequence[str], rows: Sequence[Row]) -> list[bytes]:
    """Multi-row INSERTs with hexadecimal literals, built before the clock starts: the fastest form found."""
    head = f"INSERT INTO messages ({','.join(columns)}) VALUES "  # nosec B608
    statements = []
    for start in range(0, len(rows), ROWS_A_TRANSACTION):
        values = ",".join(
            "(" + ",".join(_literal(value) for value in row) + ")" for row in rows[start : start + ROWS_A_TRANSACTION]
        )
        statements.append((head + values).encode())
    return statements


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'" if value else "''"
    if isinstance(value, int):
        return str(value)
    return f"'{value}'"  # times and words that the product made


def two_connections(url: str, statement_files: tuple[str, str], rows: int) -> float:
    """Rows a second of two processes that send ready statements."""
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.ceilings", url, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in statement_files
    ]
    for child in children:
        assert child.stdout
        child.stdout.readline()  # ready
    started = time.perf_counter()
    for child in children:
        assert child.stdin
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        child.communicate()
    return rows / (time.perf_counter() - started)


def redis_pushes(url: str, payload: bytes, messages_each: int, count: int) -> float:
    """Messages a second of raw pipelined RPUSHes of calls of the same size, in groups of eight, into the same Redis."""
    client = redis.Redis.from_url(url)
    started = time.perf_counter()
    for _ in range(count // 8):
        pipe = client.pipeline(transaction=False)
        for _ in range(8):
            pipe.rpush("bench:raw", payload)
        pipe.execute()
    seconds = time.perf_counter() - started
    client.delete("bench:raw")
    client.close()
    return count // 8 * 8 * messages_each / seconds


def _child(url: str, name: str) -> None:
    with open(name, "rb") as file:
        statements = file.read().split(b"\x00")
    connection = connect(url)
    print("ready", flush=True)
    sys.stdin.readline()
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            connection.commit()
    connection.close()


if __name__ == "__main__":
    _child(*sys.argv[1:])
