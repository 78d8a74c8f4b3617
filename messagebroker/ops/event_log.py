"""Windows' event log: warnings, errors and the start and stop of a role, under the service's name as their source."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

ERROR, WARNING, INFORMATION = 1, 2, 4
"""Windows' kinds of events."""

ALWAYS = "messagebroker.run"
"""The logger that says that a role starts and stops: operators look for that in the event log."""

REPEAT_SECONDS = 60.0
"""The same message again within this time is in the role's file only: an outage must not flush other programs' events out."""

_REMEMBERED = 200
_LONGEST = 30_000  # Windows takes 31,839 characters

Report = Callable[[int, str], None]
"""(kind, text) -> written."""


class EventLogHandler(logging.Handler):
    """Gives records to `report`; it never raises, and an event log that refuses stops no role."""

    def __init__(self, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._report = report
        self._clock = clock
        self._seen: dict[tuple[str, str], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """logging's method."""
        if record.levelno < logging.WARNING and record.name != ALWAYS:
            return
        if self._is_repeated(record):
            return
        try:
            self._report(_kind(record.levelno), self.format(record)[:_LONGEST])
        except Exception:  # noqa: BLE001 - full, or its rights were taken: the file has it
            self.handleError(record)

    def say(self, text: str) -> None:
        """An error from before logging was set up."""
        self.emit(logging.LogRecord(ALWAYS, logging.ERROR, "", 0, text, None, None))

    def handleError(self, record: logging.LogRecord) -> None:
        """logging's own would print to a stream that a service does not have."""

    def _is_repeated(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        said = record.msg.get("event") if isinstance(record.msg, dict) else record.msg  # structlog passes its whole event
        key = (record.name, str(said))
        if now - self._seen.get(key, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return True
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        self._seen[key] = now
        return False


def _kind(level: int) -> int:
    if level >= logging.ERROR:
        return ERROR
    return WARNING if level >= logging.WARNING else INFORMATION


def handler(source: str) -> EventLogHandler:
    """The handler of a service on this machine, which runs Windows."""
    return EventLogHandler(_reporter(source))


def register(source: str) -> None:
    """Tells Windows which library has the texts of this source's events. Needs administrator's rights, once."""
    import win32evtlogutil

    win32evtlogutil.AddSourceToRegistry(source)


def unregister(source: str) -> None:
    """Forgets the source; its events stay."""
    import pywintypes
    import win32evtlogutil

    try:
        win32evtlogutil.RemoveSourceFromRegistry(source)
    except pywintypes.error as error:
        if error.winerror != _NOT_FOUND:
            raise


_NOT_FOUND = 2


def _reporter(source: str) -> Report:
    import win32evtlogutil

    def report(kind: int, text: str) -> None:
        win32evtlogutil.ReportEvent(source, 1, eventType=kind, strings=[text])

    return report
