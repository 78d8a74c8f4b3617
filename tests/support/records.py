"""Records as a proxy makes them; their payloads are only as long as sealed ones, not sealed."""

from __future__ import annotations

import os
import time
from typing import Any

from messagebroker.ops import ids
from messagebroker.ops.records import Record, SealedKey

KEY = SealedKey(id=b"k" * 16, master_key_id=b"m" * 8, sealed=b"s" * 80, created_at=1_700_000_000_000_000)
KEYS = {KEY.id: KEY}


def record(**changes: Any) -> Record:
    fields: dict[str, Any] = {
        "id": ids.new(),
        "client": "acme",
        "topic": "orders.created",
        "priority": 2,
        "accepted_at": time.time_ns() // 1000,
        "size": 200,
        "data_key_id": KEY.id,
        "sealed": os.urandom(260),
        **changes,
    }
    return Record(**fields)


def records(count: int, **changes: Any) -> list[Record]:
    return [record(**changes) for _ in range(count)]
