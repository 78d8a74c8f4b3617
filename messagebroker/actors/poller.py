"""In every worker: looks four times a second for rows whose time has come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

import peewee as pw
import structlog

from messagebroker.db.writing import give_up_connection
from messagebroker.errors import Unavailable
from messagebroker.ops import dead_letter_pieces, due, metrics

POLL_SECONDS = 0.25
STUCK_SECONDS = 10.0
MOVES_SECONDS = 1.0
OUTAGE_SECONDS = 1.0

_log = structlog.get_logger("messagebroker.poller")


class Poller:
    """A thread from `start` to `stop`."""

    def __init__(self, must_route: Callable[[], Collection[str]] = frozenset) -> None:
        """`must_route`: topics on which a message that nobody subscribed to is a failed one."""
        self.seen_at = time.monotonic()  # of the last round, for the health check
        self._stop = threading.Event()
        self._stuck_at = time.monotonic()
        self._moved_at = time.monotonic()
        self._position = b""  # of the walk over pending messages
        self._must_route = must_route
        self._is_out = False
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the statement in hand."""
        self._stop.set()
        self._thread.join(5)

    @property
    def lives(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._round()):
                self.seen_at = time.monotonic()
        finally:
            give_up_connection()

    def _round(self) -> float:
        """One look; the seconds until the next one."""
        try:
            moved = due.release_due(self._must_route())
            if time.monotonic() - self._stuck_at > STUCK_SECONDS:
                self._stuck_at = time.monotonic()
                stuck, self._position = due.release_stuck(self._position)
                self._count(stuck)
            if time.monotonic() - self._moved_at > MOVES_SECONDS:
                self._moved_at = time.monotonic()
                dead_letter_pieces.advance()
        except (Unavailable, pw.PeeweeException) as error:
            if not self._is_out:
                _log.warning("what is due waits until the database answers", error=str(error))
            self._is_out = True
            return OUTAGE_SECONDS
        if self._is_out:
            _log.info("the database answers again")
        self._is_out = False
        self._count(moved)
        return 0.0 if sum(moved.values()) >= due.LIMIT else POLL_SECONDS

    def _count(self, moved: dict[str, int]) -> None:
        for status, number in moved.items():
            metrics.STATUS_CHANGES.labels(status).inc(number)
