"""Removing what is older than the retention, in small batches that hold up nobody."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from messagebroker.db import cleaning
from messagebroker.db.connection import connected
from messagebroker.db.models import DataKey
from messagebroker.errors import Refused
from messagebroker.ops import clock, ids
from messagebroker.ops.metrics import CLEANED
from messagebroker.settings import Settings

BATCH = 500
PAUSE_SECONDS = 0.02
"""After every batch, so that writers and replicas come first."""
KEY_DAYS = 7
"""How long a data key is kept at least: calls in Redis may still name it."""
_SKEW = timedelta(days=1)
"""More than the clocks of proxies and workers are ever apart."""


@dataclass
class Cleaned:
    """What was removed, or would be."""

    messages: dict[str, int] = field(default_factory=dict)  # status -> number
    data_keys: int = 0

    @property
    def total(self) -> int:
        """Messages of every status."""
        return sum(self.messages.values())


def cleanup(
    settings: Settings, days: int | None = None, *, dry_run: bool = False, stop: threading.Event | None = None
) -> Cleaned:
    """Removes messages in a final status that were accepted over `days` ago (RETENTION_DAYS), and what only they needed.

    Open messages (scheduled, pending, processing) stay however old they are. `stop` ends the work after the batch in hand.

    Raises:
        Refused: for less than one day.
    """
    days = settings.retention_days if days is None else days
    if days < 1:
        raise Refused(f"--days {days} would remove messages of today; the least is 1")
    stop = stop or threading.Event()
    cleaned = Cleaned()
    before = clock.now() - timedelta(days=days)
    with connected():
        if dry_run:
            cleaned.messages = cleaning.count_final_messages(ids.floor(before))
            return cleaned
    _remove_messages(cleaned, ids.floor(before), stop)
    _remove_data_keys(cleaned, settings, days, stop)
    return cleaned


def _remove_messages(cleaned: Cleaned, before: bytes, stop: threading.Event) -> None:
    after = bytes(16)
    while not stop.is_set():
        with connected():
            window = cleaning.next_message_ids(after, before, BATCH)
            if not window:
                return
            removed = cleaning.delete_final_messages(window)
        for status, number in removed.items():
            cleaned.messages[status] = cleaned.messages.get(status, 0) + number
            CLEANED.inc(number)
        after = window[-1]
        stop.wait(PAUSE_SECONDS)


def _remove_data_keys(cleaned: Cleaned, settings: Settings, days: int, stop: threading.Event) -> None:
    """Only keys that were last seen before every removable message are asked for: newer ones are in use."""
    before = clock.now() - timedelta(days=max(days, KEY_DAYS)) - _SKEW
    after = bytes(16)
    while not stop.is_set():
        with connected():
            keys = cleaning.next_data_keys(after, before, BATCH)
            if not keys:
                return
            unused = [bytes(key.id) for key in keys if not _is_in_use(key, settings.data_key_seconds)]
            cleaned.data_keys += cleaning.delete_data_keys(unused, before) if unused else 0
        after = bytes(keys[-1].id)
        stop.wait(PAUSE_SECONDS)


def _is_in_use(key: DataKey, seconds: float) -> bool:
    """Looks at the messages of the time in which the key sealed: there is no index on the key's id."""
    first: Any = key.created_at
    last: Any = max(key.last_seen_at, key.created_at)
    return cleaning.is_named(bytes(key.id), ids.floor(first - _SKEW), ids.floor(last + timedelta(seconds=seconds) + _SKEW))
