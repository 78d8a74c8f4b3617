"""What the state of a webhook and a recovery read: a bit of an index each, whatever else there is. MariaDB and MySQL say so."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import peewee as pw
import pytest
from support.plans import counting_reads

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.ops import clock, ids, resending, webhooks

ROWS, MINE = 4000, 7
NOW = clock.now()


def put(model: Any, rows: list[dict[str, Any]]) -> None:
    for at in range(0, len(rows), 1000):
        model.insert_many(rows[at : at + 1000]).execute()
    model._meta.database.execute_sql(f"ANALYZE TABLE {model._meta.table_name}").fetchall()


@pytest.fixture
def filled(database: pw.Database, tmp_path: Path) -> list[bytes]:
    """Most of all is somebody else's; of this webhook a tenth has failed lately, the rest long ago."""
    made = [ids.floor(NOW - timedelta(minutes=n))[:8] + n.to_bytes(8) for n in range(ROWS)]
    put(models.Message, [
        {"id": one, "client_id": "c", "topic": "t", "priority": 2, "status": "failed", "created_at": NOW, "stored_at": NOW,
         "size": 1, "data_key_id": bytes(16), "payload": bytes(50)} for one in made
    ])  # fmt: skip
    put(models.Delivery, [
        {"message": one, "subscription_id": number, "priority": n % 4, "created_at": NOW, "fingerprint": f"{n % 3:016}",
         "status": ("failed", "pending", "delivered")[(n + number) % 3], "due_at": NOW} for n, one in enumerate(made)
        for number in (MINE, 8)
    ])  # fmt: skip
    put(models.DeliveryAttempt, [
        {"message": one, "subscription_id": (MINE, 8, 9)[n % 3], "number": 1, "started_at": NOW, "duration_ms": 1,
         "outcome": "delivered" if n < ROWS - 3 else "retry"} for n, one in enumerate(made)
    ])  # fmt: skip
    return made


@pytest.mark.parametrize("database", ["mariadb", "mysql"], indirect=True)
def test_the_state_reads_no_more_than_it_counts(filled: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "MOST_COUNTED", 100)
    with connected(), counting_reads() as read:
        state = webhooks.state(MINE)
    assert (state.pending, state.failed) == (100, 100)
    assert state.last_failure is not None
    assert 200 <= read[0] < 300, f"read {read[0]} rows; a scan counts as none"


@pytest.mark.parametrize("database", ["mariadb", "mysql"], indirect=True)
def test_a_recovery_looks_at_its_time_only(filled: list[bytes]) -> None:
    with connected(), counting_reads() as read:
        found = resending.preview(MINE, NOW - timedelta(minutes=150))
    assert 45 <= found <= 55
    assert found <= read[0] < 150, f"read {read[0]} rows; a scan counts as none"
