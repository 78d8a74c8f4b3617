"""The one Dramatiq broker of a process: calls on Redis, in the keys that Dramatiq's own Redis broker uses.

What differs from Dramatiq's: depth is counted in messages, atomically; a worker wakes by a PUBLISH instead of polling; small
calls of one actor are taken together; a dead worker's calls come back after 15 s; a lost answer or a full Redis loses no call.
"""

from __future__ import annotations

import threading
import time
import uuid
from pathlib import Path
from typing import Any

import dramatiq
import msgspec
from dramatiq.encoder import Encoder, MessageData
from periodiq import PeriodiqMiddleware
from redis.commands.core import Script

from messagebroker.actors.consumer import Consumer
from messagebroker.actors.resting import Resting
from messagebroker.actors.stopping import Stopping
from messagebroker.actors.suspects import Suspects
from messagebroker.actors.wake import Wake
from messagebroker.ops.queues import HEARTBEAT_TIMEOUT
from messagebroker.ops.queues import QUEUES as QUEUES
from messagebroker.ops.redis_client import NAMESPACE, connect
from messagebroker.settings import Settings

READ_SECONDS = 5.0
"""A fetch may carry 4 MiB, and nobody waits for it as a sender waits for its 202."""

_LATE_IS_FINE = 10 * 365 * 24 * 3600
"""Seconds: the table says what is due, so periodiq's own limit must never drop a late run."""

_LUA = Path(__file__).parent / "lua"
SCRIPTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(_LUA.glob("*.lua"))}


class MessagePack(Encoder):
    """Calls as MessagePack: sealed bytes travel as they are."""

    def encode(self, data: MessageData) -> bytes:
        """The bytes of a call."""
        return msgspec.msgpack.encode(data)

    def decode(self, data: bytes) -> MessageData:
        """The inverse of `encode`."""
        decoded: MessageData = msgspec.msgpack.decode(data)
        return decoded


def new_call_id(messages: int) -> str:
    """An id that sorts by time and says how many messages the call carries (the scripts read both)."""
    return f"{time.time_ns() // 1_000_000:013x}.{messages}.{uuid.uuid4().hex}"


class Broker(dramatiq.Broker):
    """Made when `messagebroker.actors` is imported; talks to Redis from `setup_broker` on."""

    def __init__(self) -> None:
        self.stopping = threading.Event()  # waiting actors give their call back when it is set
        self.suspects = Suspects()
        periodic = PeriodiqMiddleware(skip_delay=_LATE_IS_FINE)
        super().__init__(middleware=[periodic, Resting(), self.suspects, Stopping(self.stopping)])
        self.actor_options.add("merges")  # the actor takes the arguments of many calls at once
        self.queues: set[str] = set()
        self.name = uuid.uuid4().hex  # of this process among the workers
        self.heartbeat_timeout = HEARTBEAT_TIMEOUT
        self.wake: Wake | None = None
        self._consumers: dict[str, Consumer] = {}
        self._lock = threading.Lock()

    def connect_to(self, settings: Settings) -> None:
        """Uses the Redis that the settings name; connections are made when they are needed."""
        self.close()
        self.client = connect(settings, read_timeout=max(READ_SECONDS, settings.redis_read_timeout))
        self.wake = Wake(connect(settings, read_timeout=30))
        self._scripts = {name: Script(self.client, text) for name, text in SCRIPTS.items()}

    def run(self, script: str, queue: str, *args: Any) -> Any:
        """One of the scripts, as this worker."""
        return self._scripts[script](args=[NAMESPACE, queue, self.name, *args])

    def declare_queue(self, queue_name: str) -> None:
        """No delay queue beside it: what is due later is a row, never a message in a worker's memory."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def get_declared_queues(self) -> set[str]:
        """Queues that have an actor here."""
        return self.queues.copy()

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        """Sends one call.

        The message option `once` names a Redis key: under each name one call is sent, however often this is tried.
        """
        if delay is not None:
            raise ValueError("calls are never delayed in Redis; give the row a time and let the poller find it")
        call_id = new_call_id(1)
        self.emit_before("enqueue", message, delay)
        once = message.options.get("once", "")
        arguments = [NAMESPACE, message.queue_name, call_id, message.encode(), 1, once]
        self._scripts["enqueue"](args=arguments)
        self.emit_after("enqueue", message, delay)
        return message

    def takes_many(self, actor_name: str) -> bool:
        """Whether the arguments of several calls may be handed to this actor at once."""
        actor = self.actors.get(actor_name)
        return actor is not None and bool(actor.options.get("merges"))

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 1000) -> Consumer:
        """The queue's one consumer in this process: it knows what is in hand, also after an error."""
        with self._lock:
            found = self._consumers.get(queue_name)
            if found is None:
                assert self.wake is not None, "setup_broker comes before consuming"
                found = self._consumers[queue_name] = Consumer(self, queue_name, self.wake.event(queue_name))
        found.prefetch, found.timeout = prefetch, timeout / 1000
        return found

    def close(self) -> None:
        """Ends what belongs to the connection; calls that are still held go back when the heartbeat is missed."""
        if self.wake is not None:
            self.wake.stop()
            self.client.close()
        self._consumers.clear()


broker = Broker()
dramatiq.set_encoder(MessagePack())
dramatiq.set_broker(broker)


def setup_broker(settings: Settings) -> Broker:
    """The process' broker, on the Redis of the settings."""
    broker.connect_to(settings)
    broker.stopping.clear()
    return broker
