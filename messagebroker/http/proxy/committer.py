"""Group commit: whatever arrives while one write to Redis is under way leaves together in the next one.

One thread writes what has queued up and tells those whose outcome is known; nobody else ever waits for Redis. It is woken
once for a group, not once for a request.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

import redis
import structlog

from messagebroker.db.models import PRIORITIES
from messagebroker.http.problems import Problem
from messagebroker.http.proxy import outage
from messagebroker.http.proxy.gate import Gate
from messagebroker.http.proxy.idempotency import Claim, Entry, Idempotency, remember
from messagebroker.http.proxy.rate import Charge
from messagebroker.http.proxy.wire import AnswerLost, NotSent, Wire
from messagebroker.ops.metrics import COMMIT_SECONDS, COMMIT_SIZE
from messagebroker.ops.records import Record, SealedKey

AddCalls = Callable[[Any, list[Record], dict[bytes, SealedKey]], None]
LARGEST_GROUP = 2000
"""Messages that leave in one write, unless a single request has more: it also is one transaction of a worker."""
LARGEST_GROUP_BYTES = 8 * 1024 * 1024
_PAUSE_SECONDS = 0.01  # before trying again what failed for want of memory

log = structlog.get_logger(__name__)


class Submission:
    """The part of one request that goes to Redis, in whole or not at all."""

    __slots__ = ("charge", "claim", "failure", "first", "key", "records", "size", "taken", "tell")

    def __init__(
        self, records: list[Record], key: SealedKey, size: int, claim: Claim | None = None, charge: Charge | None = None
    ) -> None:
        self.records = records
        self.key = key
        self.size = size  # bytes, roughly
        self.claim = claim
        self.charge = charge
        self.first: Entry | None = None  # the request was here before: its first answer
        self.failure: Exception | None = None
        self.taken = False  # Redis has acknowledged
        self.tell: Callable[[], None] = _nobody


class Committer:
    """Writes submissions.

    Args:
        client: a Redis client; the committer keeps one connection of its kind for itself.
        add_calls: adds the enqueueing commands of records to a pipeline (`actors.ingest.add_calls`).
        prepare: what a sender does to a Redis that may be new, after every new connection.
        idempotency: tells claims of this process from those of others.
    """

    def __init__(
        self, client: redis.Redis, add_calls: AddCalls, prepare: Callable[[redis.Redis], None], idempotency: Idempotency
    ) -> None:
        self._client = client
        self._add_calls = add_calls
        self._wire = Wire(client, lambda: prepare(client))
        self._gate = Gate(self._wire, idempotency)
        self._lock = threading.Lock()
        self._waiting: list[Submission] = []
        self._is_writing = False
        self._turns: SimpleQueue[bool] = SimpleQueue()  # True: there is something to write; False: the end
        self._thread = threading.Thread(target=self._work, name="group-commit", daemon=True)
        self._thread.start()

    def begin(self, submission: Submission, tell: Callable[[], None]) -> None:
        """Has it written, and calls `tell`, in the writing thread, when the outcome is there.

        The outcome is `submission.taken` once Redis has acknowledged, or `submission.first` (an earlier answer), or
        `submission.failure`.
        """
        submission.tell = tell
        with self._lock:
            if not self._is_writing:
                self._turns.put(True)  # first: if there is no memory for it, nothing is under way
                self._is_writing = True
            self._waiting.append(submission)

    def close(self) -> None:
        """Writes what has queued up, then ends the thread and the connection."""
        self._turns.put(False)
        self._thread.join(5)
        self._wire.close()

    def _work(self) -> None:
        while self._turns.get():
            while self._has_more():
                try:
                    self._write_next()
                except Exception as error:  # without this thread nobody is ever answered again
                    with suppress(Exception):
                        log.error("the group commit goes on after an error", exc_info=error)
                    time.sleep(_PAUSE_SECONDS)

    def _has_more(self) -> bool:
        with self._lock:  # who has just put the turn may not have said so yet
            return self._is_writing

    def _write_next(self) -> None:
        """Writes a group and tells everybody in it: whatever happens, nobody may wait for ever."""
        group: list[Submission] = []
        try:
            group = self._next_group()
            if self._write(group):  # Redis is down: those who waited learn it now, not after a time-out of their own
                self._add_everybody(group)
                _fail(group, outage.not_sent)
        except Exception as error:  # noqa: BLE001 of_error logs it
            if not group:
                self._add_everybody(group)
            _fail(group, partial(_same, error))
            self._gate.release(group)
        finally:
            _tell(group)
        with self._lock:
            self._is_writing = bool(self._waiting)

    def _add_everybody(self, group: list[Submission]) -> None:
        with self._lock:
            group.extend(self._waiting)
            self._waiting.clear()

    def _next_group(self) -> list[Submission]:
        """The submissions that leave together."""
        with self._lock:
            messages = size = taken = 0
            for submission in self._waiting:
                messages += len(submission.records)
                size += submission.size
                if taken and (messages > LARGEST_GROUP or size > LARGEST_GROUP_BYTES):
                    break
                taken += 1
            group = self._waiting[:taken]
            del self._waiting[:taken]
        return group

    def _write(self, group: list[Submission]) -> bool:
        """Writes; True when Redis does not answer."""
        began = time.perf_counter()
        try:
            self._gate.settle(group)
            admitted = [submission for submission in group if submission.failure is None and submission.first is None]
            refusal = self._enqueued(admitted) if admitted else None
        except NotSent:
            self._gate.release(group)
            _fail(group, outage.not_sent)
            return True
        except AnswerLost:
            self._gate.release(group)
            log.warning("a write to Redis was not confirmed", requests=len(group))
            _fail(group, outage.unknown)
            return True
        if refusal is not None:
            self._gate.withdraw(admitted)
            _fail(admitted, refusal)
        elif admitted:
            for submission in admitted:
                submission.taken = True
            self._gate.release(admitted)
            COMMIT_SIZE.observe(sum(len(submission.records) for submission in admitted))
            COMMIT_SECONDS.observe(time.perf_counter() - began)
        return False

    def _enqueued(self, group: list[Submission]) -> Callable[[], Problem] | None:
        """One MULTI; None, or what is wrong when Redis answered with an error."""
        errors, done = self._multi(group)
        if not errors:
            return None
        log.warning("Redis refused a write", error=str(errors[0]), requests=len(group))
        return outage.unknown if done else lambda: outage.refused(errors[0])

    def _multi(self, group: list[Submission]) -> tuple[list[Exception], bool]:
        """The errors, and whether part of the enqueueing was done in spite of them (a queue's key of a wrong type)."""
        pipe = self._client.pipeline(transaction=True)
        if len(group) == 1:
            records, keys = group[0].records, {group[0].key.id: group[0].key}
        else:
            records = [record for submission in group for record in submission.records]
            keys = {submission.key.id: submission.key for submission in group}
        self._add_calls(pipe, records, keys)
        enqueueing = [command for command, _ in pipe.command_stack]
        claims = [submission.claim for submission in group if submission.claim is not None]
        queues = {PRIORITIES[record.priority] for record in records} if claims else ()
        remembering = [remember(queues, claims)] if claims else []
        answers = self._wire.ask([("MULTI",), *enqueueing, *remembering, ("EXEC",)])
        results = answers[-1]
        if not isinstance(results, list):  # refused when it was queued: nothing of it was done
            return [answer for answer in answers if isinstance(answer, Exception)], False
        calls = results[: len(enqueueing)]
        errors = [result for result in results if isinstance(result, Exception)]
        return errors, bool(errors) and any(not isinstance(call, Exception) for call in calls)


def _fail(submissions: list[Submission], problem: Callable[[], Exception]) -> None:
    for submission in submissions:
        if not submission.taken and submission.failure is None and submission.first is None:
            submission.failure = problem()


def _tell(submissions: list[Submission]) -> None:
    for submission in submissions:
        tell, submission.tell = submission.tell, _nobody  # it holds the request: a cycle would keep that for long
        try:
            tell()
        except Exception as error:
            with suppress(Exception):
                log.error("an answer could not be given", exc_info=error)


def _same(error: Exception) -> Exception:
    return error


def _nobody() -> None:
    """Nobody is to be told yet."""
