"""The clients that take messages: for threads and for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator

from messagebroker.client import pulls
from messagebroker.client.calls import Call
from messagebroker.client.methods import Method
from messagebroker.client.pulls import LeaseResults, PulledMessage
from messagebroker.client.transport import AsyncTransport, Transport

WAIT_SECONDS = 20.0
"""Of one pull of `listen`, which goes on for ever."""


class _Methods:
    """What both can do."""

    pull = Method(pulls.pull)
    acknowledge = Method(pulls.acknowledge)
    extend = Method(pulls.extend)
    return_ = Method(pulls.give_back)


class PullClient(Transport, _Methods):
    """Takes messages of subscriptions that name this client.

    Args:
        url: main's, such as `https://broker.example.com:8000`.
        cert, key: the client's certificate and its private key.
        ca: the certificate of the system's own CA.
        timeout: seconds for one try.
        retry: how patient to be.
    """

    def listen(
        self, subscription_id: int | str, *, most: int = 10, lease: int = 60, delay: float = 10.0
    ) -> Iterator[PulledMessage]:
        """Message after message, for ever. One is acknowledged when the next one is asked for; when the loop is left before
        that, by an exception or a `break`, it is returned and comes again after `delay` seconds.

        Args:
            subscription_id: whose messages.
            most: that are taken at a time; all of them have to be done within their lease.
            lease: seconds.
            delay: seconds.

        Raises:
            Problem: the system answered with an error.
            Unreachable: it did not answer.
        """
        while True:
            found = self.pull(subscription_id, most=most, wait=WAIT_SECONDS, lease=lease)
            left = deque(found.items)
            try:
                while left:
                    yield left[0]
                    self.acknowledge(subscription_id, [left[0].lease_id])
                    left.popleft()
            except BaseException:
                for call in _returns(subscription_id, left, delay):
                    self.run(call)
                raise
            if found.retry_after is not None:
                time.sleep(found.retry_after)


class AsyncPullClient(AsyncTransport, _Methods):
    """The same as `PullClient`, awaited."""

    async def listen(
        self, subscription_id: int | str, *, most: int = 10, lease: int = 60, delay: float = 10.0
    ) -> AsyncIterator[PulledMessage]:
        """The same as `PullClient.listen`. With `contextlib.aclosing` around it what is left is returned at once.

        Raises:
            Problem: the system answered with an error.
            Unreachable: it did not answer.
        """
        while True:
            found = await self.pull(subscription_id, most=most, wait=WAIT_SECONDS, lease=lease)
            left = deque(found.items)
            try:
                while left:
                    yield left[0]
                    await self.acknowledge(subscription_id, [left[0].lease_id])
                    left.popleft()
            except BaseException:
                for call in _returns(subscription_id, left, delay):
                    await self.run(call)
                raise
            if found.retry_after is not None:
                await asyncio.sleep(found.retry_after)


def _returns(subscription_id: int | str, left: deque[PulledMessage], delay: float) -> list[Call[LeaseResults]]:
    """Of the one that failed, after the delay; of those that nobody has looked at, at once."""
    leases = [message.lease_id for message in left]
    calls = [pulls.give_back(subscription_id, leases[:1], delay=delay)]
    return calls + ([pulls.give_back(subscription_id, leases[1:])] if leases[1:] else [])
