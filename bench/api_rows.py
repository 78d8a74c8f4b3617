"""Millions of rows for `bench.api`, made inside the server: over the wire they would take an hour."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import peewee as pw

from messagebroker.db.models import Message
from messagebroker.ops import clock, ids

DAYS = 90
_CHUNK = 100_000
HOT_CLIENT, HOT_TOPIC, HOT_CORRELATION, HOT_SENDER = "client-0", "topic.hot", "batch 1", "+4915112345678"
OLD_TOPIC, RARE_CLIENT = "topic.old", "client-rare"
CLIENTS, TOPICS = 200, 50

_ROW = f"""
INSERT INTO messages (id, client_id, topic, priority, status, created_at, stored_at, due_at, expires_at, routed, attempts,
  size, sender_hash, correlation_id, data_key_id, payload)
SELECT UNHEX(CONCAT(LPAD(HEX(@began + FLOOR(seq * @step)), 12, '0'), '7', LPAD(HEX(seq MOD 4096), 3, '0'),
    '8', LPAD(HEX(seq), 15, '0'))),
  CASE WHEN seq MOD 10007 = 0 THEN '{RARE_CLIENT}' WHEN seq MOD 2 = 0 THEN '{HOT_CLIENT}'
    ELSE CONCAT('client-', 1 + (seq DIV 2 * 7919) MOD {CLIENTS}) END,
  CASE WHEN seq MOD 3 = 0 THEN '{HOT_TOPIC}' WHEN seq < @total / 20 AND seq MOD 3 = 1 THEN '{OLD_TOPIC}'
    ELSE CONCAT('topic.', (seq * 104729) MOD {TOPICS}) END,
  seq MOD 4,
  CASE WHEN seq MOD 101 = 0 THEN 'failed' WHEN seq MOD 1009 = 0 THEN 'scheduled' WHEN seq MOD 997 = 0 THEN 'processing'
    WHEN seq MOD 4999 = 0 THEN 'pending' ELSE 'delivered' END,
  @from + INTERVAL FLOOR(seq * @step) * 1000 MICROSECOND, @from + INTERVAL FLOOR(seq * @step) * 1000 + 40000 MICROSECOND,
  IF((seq MOD 1009 = 0 OR seq MOD 997 = 0) AND seq MOD 101 <> 0, @from + INTERVAL FLOOR(seq * @step) * 1000 MICROSECOND, NULL),
  NULL, 0, 1, 200,
  IF(seq MOD 25 = 0, %s, SUBSTR(UNHEX(MD5(CONCAT('s', (seq * 31) MOD 100000))), 1, 16)),
  CASE WHEN seq MOD 20 = 0 THEN '{HOT_CORRELATION}' WHEN seq MOD 7 = 0 THEN NULL ELSE CONCAT('order ', seq DIV 10) END,
  REPEAT('k', 16), REPEAT('x', 280)
FROM seq_1_to_{{total}} WHERE seq BETWEEN %s AND %s
"""  # nosec B608


def fill(database: pw.Database, rows: int, sender_hash: bytes) -> tuple[datetime, datetime]:
    """Fills the table; the first and the last moment of acceptance."""
    until = clock.now().replace(microsecond=0)
    began = until - timedelta(days=DAYS)
    indexes = [index for index in database.get_indexes("messages") if index.name != "PRIMARY"]
    database.execute_sql("ALTER TABLE messages " + ", ".join(f"DROP INDEX `{index.name}`" for index in indexes))
    variables = "SET @began = %s, @step = %s, @total = %s, @from = %s"
    step = DAYS * 86_400_000 / (rows + 1)
    naive = began.astimezone(UTC).replace(tzinfo=None)
    database.execute_sql(variables, (clock.micros(began) // 1000, step, rows, naive))
    for first in range(1, rows + 1, _CHUNK):
        last = min(first + _CHUNK - 1, rows)
        database.execute_sql(_ROW.format(total=rows), (sender_hash, first, last))
    print(f"{rows:,} rows are in; making their indexes …", flush=True)
    for index in indexes:  # one at a time: each sort stays in memory
        kind = "UNIQUE INDEX" if index.unique else "INDEX"
        columns = ", ".join(f"`{column}`" for column in index.columns)
        database.execute_sql(f"ALTER TABLE messages ADD {kind} `{index.name}` ({columns})")
    database.execute_sql("ANALYZE TABLE messages")
    return began, until


def id_at(moment: datetime) -> bytes:
    """A position in lists in the order of ids."""
    return ids.floor(moment)


def timed_fill(database: pw.Database, rows: int, sender_hash: bytes) -> tuple[datetime, datetime]:
    """The same, telling how long it took."""
    began = time.monotonic()
    span = fill(database, rows, sender_hash)
    found = Message.select().count()
    print(f"{found:,} messages with their indexes after {time.monotonic() - began:.0f} s", flush=True)
    return span
