"""Takes calls off one queue for Dramatiq's consumer thread, and knows what is in hand."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import dramatiq
import redis
import structlog
from dramatiq.errors import DecodeError

from messagebroker.actors.stopping import Requeue
from messagebroker.ops import metrics, steering
from messagebroker.ops.queues import QUEUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from messagebroker.actors.broker import Broker

MERGE_MESSAGES = 500
"""Small calls are taken together until they carry so many messages."""

MERGE_BYTES = 4 * 1024 * 1024
LINGER = 0.02
"""Seconds between a fetch that emptied the queue and the next one: singles at a high rate gather instead of each
costing a transaction. The first one after a pause never waits."""

MAINTAIN_EVERY = 5.0

_log = structlog.get_logger("messagebroker.consumer")

Call = tuple[str, bytes, int]
"""Id, encoded call, workers that died holding it."""


class Consumer(dramatiq.Consumer):
    """Never raises on Redis' account: it waits, and goes on with what it holds when Redis is back."""

    prefetch = 1  # work items in hand, running ones included
    timeout = 1.0  # seconds

    def __init__(self, broker: Broker, queue: str, wake: threading.Event) -> None:
        self.broker = broker
        self.queue = queue
        self._wake = wake
        self._ready: deque[dramatiq.MessageProxy] = deque()
        self._items = 0  # work items handed out or ready
        self._held: set[str] = set()  # ids that are ours in Redis, as far as we know
        self._done: set[str] = set()  # those of them whose ack is still to be heard
        self._lock = threading.Lock()  # acks come from the worker threads
        self._maintained = self._fetch_after = 0.0
        self._redis_is_away = False
        self.finished = 0  # messages that this process is done with

    def __next__(self) -> dramatiq.MessageProxy | None:
        """The next work item, None after a while without one. A queue that rests gives none."""
        rests = self.queue in steering.paused()
        if self._ready and not rests:
            return self._ready.popleft()
        self._wake.clear()
        try:
            if time.monotonic() - self._maintained > MAINTAIN_EVERY:
                self._maintain()
            if rests:
                self._give_back_ready()
            elif self._items < self.prefetch:
                self._fetch()
            if self._redis_is_away:
                self._redis_is_away = False
                _log.info("Redis answers again", queue=self.queue)
        except redis.RedisError as error:
            self._say_once(error)
            self._maintained = 0.0  # the answer that got lost may have held calls
            self._wake.wait(0.5)
        if not self._ready:
            self._wake.wait(self.timeout)
            return None
        return self._ready.popleft()

    def ack(self, message: dramatiq.MessageProxy) -> None:
        """The call is done, or its actor could not: Dramatiq comes here in both cases."""
        reason = message._exception
        if isinstance(reason, Requeue) or (reason is not None and self.broker.takes_many(message.actor_name)):
            if not isinstance(reason, Requeue):
                self._fetch_after = time.monotonic() + 1  # an error that nobody foresaw: keep the call, and keep calm
            self.requeue([message])
            return
        ids = message.options["call_ids"]
        with self._lock:
            self._items -= 1
            self._done.update(ids)
        try:
            self._acknowledge(ids)
        except redis.RedisError as error:
            self._say_once(error)  # _maintain tries again; should this process end before, the call runs twice, harmlessly
        self._wake.set()

    def nack(self, message: dramatiq.MessageProxy) -> None:
        """No actor of that name here: kept as a dead letter."""
        self._settle("dead_letter", [message])

    def requeue(self, messages: Iterable[dramatiq.MessageProxy]) -> None:
        """Work items go back to the head of the queue, unfinished."""
        self._settle("requeue", list(messages))

    def close(self) -> None:
        """Gives back what was not handed out, and acknowledges what could not be before."""
        try:
            self._give_back_ready()
            if self._done:
                self._acknowledge(list(self._done))
        except redis.RedisError as error:
            self._say_once(error)

    @property
    def in_hand(self) -> int:
        """Work items that were taken and are not done."""
        return self._items

    # in Redis

    def _fetch(self) -> None:
        pause = self._fetch_after - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        most = MERGE_MESSAGES if self.queue != "ops" else 1
        left, *rest = self.broker.run("fetch", self.queue, most, MERGE_BYTES)
        if not rest:
            return
        if not left:
            self._fetch_after = time.monotonic() + LINGER
        calls = [
            (call_id, rest[at + 1], int(rest[at + 2] or 0))
            for at in range(0, len(rest), 3)
            if (call_id := self._text_of(rest[at])) is not None
        ]
        with self._lock:
            self._held.update(call[0] for call in calls)
        self._ready.extend(self._work_items(calls))
        with self._lock:
            self._items += len(self._ready)

    def _give_back_ready(self) -> None:
        ready = list(self._ready)
        self._ready.clear()
        self.requeue(ready)

    def _text_of(self, call_id: bytes) -> str | None:
        """None for an id that nothing of ours has made; its call is put away."""
        try:
            return call_id.decode()
        except UnicodeDecodeError:
            _log.error("not a call's id; it becomes a dead letter", queue=self.queue, call=repr(call_id[:80]))
            self.broker.run("dead_letter", self.queue, call_id)
            return None

    def _work_items(self, calls: list[Call]) -> Iterator[dramatiq.MessageProxy]:
        """One for each call, but one for neighbours of an actor that takes many."""
        readable = []
        for call in calls:
            try:
                readable.append((call, self._decoded(call[1])))
            except DecodeError as error:
                _log.error("not a call; it becomes a dead letter", queue=self.queue, call=call[0], error=str(error))
                self._put_away(call[0])
        for _, group in itertools.groupby(readable, self._merge_key):
            group_calls, messages = zip(*group, strict=True)
            options = {"call_ids": [call[0] for call in group_calls], "crashes": group_calls[0][2]}
            arguments = tuple(itertools.chain.from_iterable(message.args for message in messages))
            yield dramatiq.MessageProxy(messages[0].copy(args=arguments, options=options))

    def _decoded(self, data: bytes) -> dramatiq.Message[Any]:
        """Raises DecodeError for what is no call, also for one of a shape that would stop its whole queue for ever."""
        message: dramatiq.Message[Any] = dramatiq.Message.decode(data)
        is_call = (
            message.queue_name == self.queue  # Dramatiq would look for another consumer to tell that it is done
            and isinstance(message.actor_name, str)
            and isinstance(message.args, tuple)
            and isinstance(message.kwargs, dict)
            and isinstance(message.options, dict)
        )
        if is_call and self.broker.takes_many(message.actor_name):
            is_call = not message.kwargs and all(isinstance(argument, bytes) for argument in message.args)
        if not is_call:
            problem = TypeError("its parts are not those of a call")
            raise DecodeError(str(problem), data, problem)  # type: ignore[no-untyped-call]
        return message

    def _merge_key(self, item: tuple[Call, dramatiq.Message[Any]]) -> str:
        (call_id, _, crashes), message = item
        return message.actor_name if self.broker.takes_many(message.actor_name) and not crashes else call_id

    def _put_away(self, call_id: str) -> None:
        with self._lock:
            self._held.discard(call_id)
        with contextlib.suppress(redis.RedisError):  # then _maintain gives it back, and it comes here again
            self.broker.run("dead_letter", self.queue, call_id)

    def _acknowledge(self, ids: list[str]) -> None:
        finished = int(self.broker.run("ack", self.queue, *ids))
        with self._lock:
            self.finished += finished
            self._held.difference_update(ids)
            self._done.difference_update(ids)

    def _settle(self, script: str, messages: list[dramatiq.MessageProxy]) -> None:
        ids = [call_id for message in messages for call_id in message.options["call_ids"]]
        if not ids:
            return
        with self._lock:
            self._items -= len(messages)
            self._held.difference_update(ids)  # should the answer get lost, the next _maintain gives them back
        try:
            self.broker.run(script, self.queue, *ids)
        except redis.RedisError as error:
            self._say_once(error)
        self._wake.set()

    def _maintain(self) -> None:
        with self._lock:
            late = list(self._done)
        if late:
            self._acknowledge(late)
        with self._lock:
            held = list(self._held)
        reclaimed, found = self.broker.run("maintain", self.queue, self.broker.heartbeat_timeout, ",".join(QUEUES), *held)
        self._maintained = time.monotonic()
        if reclaimed:
            metrics.RECLAIMED.labels(self.queue).inc(reclaimed)
            _log.warning("calls of dead workers taken back", queue=self.queue, calls=reclaimed)
        if found:
            _log.warning("calls of lost answers taken back", queue=self.queue, calls=found)

    def _say_once(self, error: redis.RedisError) -> None:
        if not self._redis_is_away:
            self._redis_is_away = True
            _log.warning("Redis does not answer; trying on", queue=self.queue, error=str(error))
