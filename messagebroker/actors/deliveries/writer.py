"""Writes the ends of attempts: those that come while a transaction runs share the next one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import peewee as pw
import structlog

from messagebroker.actors.deliveries.items import Item
from messagebroker.db.writing import give_up_connection
from messagebroker.errors import BrokerError, Unavailable
from messagebroker.ops.channels.channel import Outcome
from messagebroker.ops.deliveries import ending
from messagebroker.ops.deliveries.ending import Result
from messagebroker.ops.deliveries.opening import Payloads

MOST = 200
"""Attempts of one transaction."""

_PAUSES = (0.1, 0.5, 2.0)
_log = structlog.get_logger("messagebroker.deliveries")


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that ended."""

    item: Item
    outcome: Outcome
    started_at: datetime
    duration_ms: int


class Writer:
    """A thread from `start` to `stop`, which writes what is left."""

    def __init__(self, payloads: Payloads, holder: bytes, written: Callable[[Sequence[Ended]], None]) -> None:
        """`written`: called with what is in the table by now."""
        self._payloads = payloads
        self._holder = holder
        self._written = written
        self._queue: queue.SimpleQueue[list[Ended] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="delivery-writer", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends when everything is written; what the database does not take within seconds is left to its lease."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join(10)

    @property
    def lives(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def put(self, ended: list[Ended]) -> None:
        """To be written soon. From any thread."""
        self._queue.put(ended)

    def _run(self) -> None:
        try:
            while (batch := self._next()) is not None:
                self._write(batch)
        finally:
            give_up_connection()

    def _next(self) -> list[Ended] | None:
        """What has come; None after the last."""
        first = self._queue.get()
        if first is None:
            return None
        batch = first
        while len(batch) < MOST:
            try:
                more = self._queue.get_nowait()
            except queue.Empty:
                break
            if more is None:
                self._queue.put(None)
                break
            batch = batch + more
        return batch

    def _write(self, batch: list[Ended]) -> None:
        self._end([self._result(ended) for ended in batch])
        try:
            self._written(batch)
        except Exception as error:  # noqa: BLE001 - without this thread nothing is delivered any more
            _log.error("attempts that ended could not be counted", exc_info=error)

    def _end(self, results: list[Result]) -> None:
        tries = 0
        while True:
            try:
                ending.end(results)
                return
            except (pw.DataError, pw.IntegrityError) as error:
                self._part(results, error)
                return
            except (Unavailable, pw.PeeweeException) as error:
                if tries == 0:
                    _log.warning("attempts cannot be written down yet", attempts=len(results), error=str(error))
                if self._stopping.wait(_PAUSES[min(tries, len(_PAUSES) - 1)]) and tries >= len(_PAUSES):
                    _log.error("attempts are not written down; they are made again", attempts=len(results))
                    return
                tries += 1
            except Exception as error:  # noqa: BLE001 - one of them, in a way nobody foresaw: this thread must not end
                self._part(results, error)
                return

    def _part(self, results: list[Result], error: Exception) -> None:
        """Halves them until the one that cannot be written is alone: the others shall not suffer."""
        if len(results) > 1:
            middle = len(results) // 2
            self._end(results[:middle])
            self._end(results[middle:])
            return
        _log.error("an attempt cannot be written down", subscription=results[0].subscription_id, error=str(error))
        plain = _plain(results[0])
        if plain != results[0]:
            self._end([plain])

    def _result(self, ended: Ended) -> Result:
        item, outcome = ended.item, ending.shortened(ended.outcome)
        return Result(
            message_id=item.message_id,
            subscription_id=item.subscribed.id,
            channel=item.subscribed.channel,
            holder=self._holder,
            outcome=outcome,
            started_at=ended.started_at,
            duration_ms=ended.duration_ms,
            schedule=item.subscribed.schedule,
            sealed_answer=self._sealed(item, outcome.answer),
        )

    def _sealed(self, item: Item, answer: bytes) -> bytes | None:
        try:
            return self._payloads.seal_answer(item.message_id, answer, item.key) if answer else None
        except (BrokerError, ValueError):
            return None


def _plain(result: Result) -> Result:
    """Without what others have said, which may be what cannot be written."""
    error = result.outcome.error and result.outcome.error.encode("ascii", "replace").decode().replace("\0", "?")
    outcome = Outcome(kind=result.outcome.kind, code=result.outcome.code, error=error, retry_after=result.outcome.retry_after)
    return replace(result, outcome=outcome, sealed_answer=None)
