"""Wakes consumers: one thread a process listens where enqueueing publishes, so that idle workers need not poll."""

from __future__ import annotations

import contextlib
import threading

import redis
import structlog

from messagebroker.ops.redis_client import WAKE

_log = structlog.get_logger("messagebroker.wake")


class Wake:
    """An Event for each queue; all of them are set after a gap, for what was published in it was not heard."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._events: dict[str, threading.Event] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def event(self, queue: str) -> threading.Event:
        """Set whenever the queue may have something; the listening begins with the first one asked for."""
        found = self._events.setdefault(queue, threading.Event())
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="wake", daemon=True)
            self._thread.start()
        return found

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        if self._thread is not None:
            with contextlib.suppress(redis.RedisError):
                self._client.publish(WAKE, "")  # it looks at once; without Redis, within a second
            self._thread.join(2)
        self._client.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except redis.RedisError as error:
                _log.debug("not listening for a second", error=str(error))
                self._stop.wait(1)

    def _listen(self) -> None:
        with self._client.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(WAKE)
            self._wake_all()
            while not self._stop.is_set():
                message = channel.get_message(timeout=1.0)
                if message is not None:
                    event = self._events.get(message["data"].decode())
                    if event is not None:
                        event.set()

    def _wake_all(self) -> None:
        for event in list(self._events.values()):
            event.set()
