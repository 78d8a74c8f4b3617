"""Takes over, once a second, what operators set for running processes: paused queues, how much is done at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import peewee as pw
import structlog

from messagebroker.db.writing import give_up_connection
from messagebroker.errors import Unavailable
from messagebroker.ops import steering

_log = structlog.get_logger("messagebroker.follower")


class Follower:
    """A thread from `start` to `stop`.

    Args:
        follow: called after every look, also after one that failed; what it does must be quick.
    """

    def __init__(self, *follow: Callable[[], object]) -> None:
        self._follow = follow
        self._stop = threading.Event()
        self._is_out = False
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """The first look happens before this returns. While the database is away everything rests: nobody knows better."""
        steering.hold()
        self._round()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        try:
            while not self._stop.wait(steering.LOOK_SECONDS):
                self._round()
        finally:
            give_up_connection()

    def _round(self) -> None:
        self._look()
        for one in self._follow:
            try:
                one()
            except Exception as error:  # noqa: BLE001 (the next round may succeed)
                _log.error("what operators set could not be taken over", exc_info=error)

    def _look(self) -> None:
        before = steering.paused()
        try:
            steering.refresh()
        except (Unavailable, pw.PeeweeException) as error:
            if not self._is_out:
                _log.warning("what operators set stays as it was until the database answers", error=str(error))
            self._is_out = True
            return
        self._is_out = False
        found = steering.paused()
        if found != before:
            _log.info("queues that rest", before=sorted(before), now=sorted(found))
