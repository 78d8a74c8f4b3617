"""The private networks that webhooks may reach, as the table says, for who asks a thousand times a second."""

from __future__ import annotations

import asyncio
import time
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.ops.private_networks import Address

_SECONDS = 1.0
Network = IPv4Network | IPv6Network
AllowedNetwork: Any = models.AllowedNetwork


def read() -> tuple[Network, ...]:
    """All of the table; blocks."""
    with connected():
        return tuple(ip_network(row.network) for row in AllowedNetwork.select(AllowedNetwork.network))


class AllowList:
    """Of one event loop. What it knows is at most a second old: a network that was taken off the list is off it."""

    def __init__(self) -> None:
        self._networks: tuple[Network, ...] = ()
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def has(self, address: Address) -> bool:
        """Whether it is inside one of the networks.

        Raises:
            Unavailable: the database does not answer; then nobody knows.
        """
        if time.monotonic() - self._read_at > _SECONDS:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
            await asyncio.shield(self._reading)
        return any(address.version == network.version and address in network for network in self._networks)

    async def _read(self) -> None:
        try:
            began = time.monotonic()
            self._networks = await asyncio.to_thread(read)
            self._read_at = began
        finally:
            self._reading = None
