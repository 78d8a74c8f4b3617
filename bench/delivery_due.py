"""100,000 retries that are due: what finding and claiming them costs, in time and in rows that the server touches."""

from __future__ import annotations

import os
import time
from datetime import timedelta

import peewee as pw
from support.records import KEYS, records

from messagebroker.db.models import Delivery
from messagebroker.ops.deliveries import claiming
from messagebroker.ops.due import database_now
from messagebroker.ops.store import store

DUE, SUBSCRIPTIONS = 100_000, 1000
FIRST = 10_000_000  # numbers of subscriptions that no worker knows: only this process claims


def measure() -> dict[str, float]:
    """Milliseconds of a look and of a claim of 500, and the rows read for each."""
    _fill()
    database = Delivery._meta.database
    database.execute_sql("ANALYZE TABLE deliveries")
    looks, claims, looked, claimed = [], [], 0, 0
    with database.connection_context():
        for _ in range(20):
            rows, began = _rows_read(database), time.perf_counter()
            groups = [group for group in claiming.due() if group.subscription_id >= FIRST]
            looks.append(time.perf_counter() - began)
            looked = _rows_read(database) - rows
            rows, began = _rows_read(database), time.perf_counter()
            found = claiming.claim([(group, 4) for group in groups], holder=os.urandom(16))
            claims.append(time.perf_counter() - began)
            claimed = _rows_read(database) - rows
            assert len(found) == claiming.LIMIT, len(found)
    return {
        "look_ms": sorted(looks)[10] * 1000,
        "look_rows": looked,
        "claim_500_ms": sorted(claims)[10] * 1000,
        "claim_500_rows": claimed,
        "due": DUE,
    }


def _fill() -> None:
    now = database_now()
    at = now - timedelta(minutes=1)
    made = records(DUE)
    for begin in range(0, DUE, 1000):
        part = made[begin : begin + 1000]
        store(part, KEYS, now=now)
        Delivery.insert_many(
            [
                {
                    "message": record.id,
                    "subscription_id": FIRST + (begin + number) % SUBSCRIPTIONS,
                    "priority": 2,
                    "status": "pending",
                    "due_at": at,
                    "attempts": 1,
                    "created_at": at,
                }
                for number, record in enumerate(part)
            ]
        ).execute()


def _rows_read(database: pw.Database) -> int:
    found = database.execute_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'").fetchall()
    return sum(int(value) for _, value in found)
