"""Calls that were held by a worker that died: any of them may be the one that killed it.

They run one at a time in a process, and only a start counts: an innocent neighbour finishes and is cleared, a killer
reaches the limit. The count lives in Redis, beside the call.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import dramatiq
import redis
import structlog
from dramatiq.middleware import SkipMessage

from messagebroker.ops.redis_client import CRASHES

if TYPE_CHECKING:
    from messagebroker.actors.broker import Broker

CRASH_LIMIT = 3
"""Workers that a call may kill before it is set aside."""

_log = structlog.get_logger("messagebroker.suspects")


class Suspects(dramatiq.Middleware):
    """Counts a suspect's start and tells the actor how often it killed: keyword argument `crashes`."""

    def __init__(self) -> None:
        self._alone = threading.Lock()

    def before_process_message(self, broker: Broker, message: dramatiq.MessageProxy) -> None:  # type: ignore[override]
        """Dramatiq's signal, in the thread that will run the call."""
        crashes = message.options.get("crashes", 0)
        if not crashes:
            return
        self._alone.acquire()
        message.options["is_alone"] = True
        try:
            broker.client.hincrby(CRASHES, message.options["call_ids"][0], 1)
        except redis.RedisError as error:
            _log.warning("a suspect starts uncounted", error=str(error))
        if broker.takes_many(message.actor_name):
            message.kwargs["crashes"] = crashes
        elif crashes >= CRASH_LIMIT:
            _log.error("a call killed its workers and is dropped", actor=message.actor_name, workers=crashes)
            raise SkipMessage

    def after_process_message(self, broker: Broker, message: dramatiq.MessageProxy, **_: Any) -> None:  # type: ignore[override]
        """Dramatiq's signal."""
        if message.options.pop("is_alone", False):
            self._alone.release()

    def after_skip_message(self, broker: Broker, message: dramatiq.MessageProxy) -> None:  # type: ignore[override]
        """Dramatiq's signal."""
        self.after_process_message(broker, message)
