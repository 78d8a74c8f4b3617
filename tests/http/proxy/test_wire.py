"""The proxy's own connection to Redis."""

from __future__ import annotations

import redis as redis_py

from messagebroker.http.proxy.wire import Wire


def test_there_is_no_end_of_new_connections(redis_url: str) -> None:
    """A pool counts those that it made, gives up after a hundred, and is never told that they ended."""
    with redis_py.Redis.from_url(redis_url) as client:
        wire = Wire(client, lambda: None)
        for _ in range(client.connection_pool.max_connections + 20):
            assert wire.ask([("PING",)]) == [b"PONG"]
            wire.close()
