"""One row for each running process, renewed every few seconds: who runs, where, since when."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from messagebroker.db import inspection
from messagebroker.db.connection import connected
from messagebroker.db.models import BEAT_SECONDS, FRESH, Heartbeat
from messagebroker.errors import BrokerError
from messagebroker.ops import clock

OUTAGE_SECONDS = 1.0
"""Between beats that fail: until one succeeds, a worker takes nothing."""

SETTLED_SECONDS = 75.0
"""After a beat that failed, until every process that lives has beaten again: one may hang in a statement for a minute."""

_FORGET = timedelta(days=1)
_log = structlog.get_logger("messagebroker.heartbeat")


@dataclass(frozen=True)
class Alive:
    """How many processes of a role beat."""

    processes: int = 0
    leaders: int = 0  # hold a lease; of schedulers one does


def host() -> str:
    """This machine, as the rows name it."""
    return socket.gethostname()[:255]


def alive() -> dict[str, Alive]:
    """By role, as the database has it now."""
    with connected():
        now = inspection.clock()
        found: dict[str, Alive] = {}
        for row in Heartbeat.select().where(Heartbeat.seen_at > now - FRESH):
            before = found.get(row.role, Alive())
            leads = row.leading_until is not None and row.leading_until > now
            found[row.role] = Alive(before.processes + 1, before.leaders + leads)
    return found


class Heart:
    """Beats in a thread from `start` to `stop`, which removes the row. An outage of the database is waited out."""

    details: Callable[[], dict[str, Any]] | None = None  # what this process does now, written with every beat

    def __init__(self, role: str) -> None:
        self.instance = uuid.uuid4().hex
        self._row = {
            "instance": self.instance,
            "role": role,
            "host": host(),
            "pid": os.getpid(),
            "started_at": clock.now(),
        }
        self._beaten_at = self._failed_at = float("-inf")  # on the monotonic clock
        self._is_out = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """The first beat happens before this returns."""
        self._try(self.beat)
        self._thread.start()

    def stop(self) -> None:
        """Removes the row, so that nobody waits for this process."""
        self._stop.set()
        self._thread.join(BEAT_SECONDS)
        self._try(self._remove)

    def beat(self) -> None:
        """Renews the row, or makes it; forgets processes that have been silent for a day.

        By the database's clock, as whoever looks: a machine whose clock is wrong must not seem to be gone.
        """
        began = time.monotonic()
        with connected():
            now = inspection.clock()
            fields = {"seen_at": now, "details": json.dumps(self.details()) if self.details else None}
            if not Heartbeat.update(**fields).where(Heartbeat.instance == self.instance).execute():
                Heartbeat.insert(**self._row, **fields).on_conflict_ignore().execute()
                for silent in Heartbeat.select().where(Heartbeat.seen_at < now - _FORGET):
                    silent.delete_instance()
        ended = time.monotonic()
        if self._beaten_at + FRESH.total_seconds() < ended and self._beaten_at > 0:
            self._failed_at = ended
        self._beaten_at = began
        self._is_out = False

    def is_seen(self) -> bool:
        """Whether this process' row is fresh: to others it is gone otherwise, and what it holds is theirs."""
        return time.monotonic() - self._beaten_at < FRESH.total_seconds()

    def is_steady(self) -> bool:
        """Whether this process has reached the database for so long without a break that all that live have done so too.

        Until then an old row tells of an outage, not of a process that is gone.
        """
        return self.is_seen() and time.monotonic() - self._failed_at > SETTLED_SECONDS

    def _remove(self) -> None:
        with connected():
            for own in Heartbeat.select().where(Heartbeat.instance == self.instance):
                own.delete_instance()

    def _run(self) -> None:
        while not self._stop.wait(OUTAGE_SECONDS if self._is_out else BEAT_SECONDS):
            self._try(self.beat)

    def _try(self, step: object) -> None:
        assert callable(step)
        try:
            step()
        except BrokerError as error:
            if not self._is_out:
                _log.warning("no heartbeat", error=str(error))
            self._note_failure()
        except Exception as error:  # noqa: BLE001 (the next beat may succeed)
            if not self._is_out:
                _log.error("no heartbeat", exc_info=error)
            self._note_failure()

    def _note_failure(self) -> None:
        self._failed_at = time.monotonic()
        self._is_out = True
