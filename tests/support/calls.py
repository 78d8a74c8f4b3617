"""Taking calls off a queue by hand."""

from __future__ import annotations

import dramatiq

from messagebroker.actors.broker import Broker
from messagebroker.actors.consumer import Consumer
from messagebroker.ops.records import Record, decode_call


def consumer_of(broker: Broker, queue: str = "normal", prefetch: int = 10) -> Consumer:
    return broker.consume(queue, prefetch=prefetch, timeout=50)


def take(consumer: Consumer) -> dramatiq.MessageProxy:
    found = next(consumer)
    assert found is not None
    return found


def carried(message: dramatiq.MessageProxy) -> list[Record]:
    """The records of all calls that the work item merges."""
    return [found for call in message.args for found in decode_call(call).records]
