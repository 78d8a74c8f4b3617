"""Keeps the bodies of all requests together within a limit, however many connections send long ones at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Holder(Protocol):
    """A channel, as far as its memory goes."""

    def held(self) -> int:
        """Bytes of bodies that it holds."""

    def is_receiving(self) -> bool:
        """True while a body is still arriving, so that it can be refused."""

    def refuse_body(self) -> None:
        """Gives up the body that is arriving."""


def relieve(channels: Iterable[Holder], limit: int) -> int:
    """Refuses the greatest unfinished bodies until all together are under `limit`; how many it refused."""
    sizes = [(size, channel) for channel in channels if (size := channel.held())]
    total = sum(size for size, _ in sizes)
    refused = 0
    for size, channel in sorted(sizes, key=lambda item: item[0], reverse=True):
        if total <= limit:
            break
        if channel.is_receiving():
            channel.refuse_body()
            refused += 1
            total -= size
    return refused
