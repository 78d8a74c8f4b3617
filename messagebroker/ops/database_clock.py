"""The database's clock beside this process' own, which nobody sets."""

from __future__ import annotations

import time
from datetime import datetime

import structlog

from messagebroker.ops.deliveries.routing import LEASE_SECONDS
from messagebroker.ops.due import database_now

LEAP_SECONDS = 5.0
"""Heartbeats bear so much: they are renewed every five seconds, and trusted for fifteen."""

_log = structlog.get_logger("messagebroker.deliveries")


class DatabaseClock:
    """Of one thread, which looks every few seconds."""

    def __init__(self) -> None:
        self._looked: tuple[datetime, float] | None = None  # the database's time, and when this process asked for it
        self._leapt_at = float("-inf")

    def has_leapt(self) -> bool:
        """Whether it was set forward less than a lease ago.

        Leases and heartbeats look older than they are then, all of them, until their holders have ended or renewed them.

        Raises:
            Unavailable: the database does not answer.
        """
        asked = time.monotonic()
        now = database_now()
        answered = time.monotonic()
        if self._looked is not None:
            before, asked_before = self._looked
            ahead = (now - before).total_seconds() - (answered - asked_before)
            if ahead > LEAP_SECONDS:
                _log.warning("the database's clock was set forward; leases are left alone for a while", seconds=round(ahead))
                self._leapt_at = answered
        self._looked = now, asked
        return answered - self._leapt_at < LEASE_SECONDS
