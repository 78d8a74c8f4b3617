"""Connections to Redis, and the names of the keys that are not Dramatiq's."""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from messagebroker.errors import Unavailable
from messagebroker.settings import Settings

NAMESPACE = "messagebroker"
"""Of Dramatiq's keys; ours begin with it too."""

POLICY = f"{NAMESPACE}:policy"  # the signed snapshot
POLICY_NUMBER = f"{NAMESPACE}:policy-number"  # its number, polled every 250 ms
DEPTH = f"{NAMESPACE}:depth"  # hash: queue -> messages waiting or running
CRASHES = f"{NAMESPACE}:crashes"  # hash: redis message id -> times its worker died
WAKE = f"{NAMESPACE}:wake"  # channel: queue names whose consumers should look now
IDEMPOTENCY = f"{NAMESPACE}:idem"  # + :CLIENT:HASH-OF-KEY
LEGACY_QUEUE = "message_queue"  # a string, so that an old LLEN fails loudly instead of saying 0


def connect(settings: Settings, *, read_timeout: float | None = None) -> redis.Redis:
    """A pooled client: short timeouts, no hidden retries (a write whose answer was lost must be seen).

    `read_timeout` in seconds overrides REDIS_READ_TIMEOUT (consumers that wait need a longer one).
    """
    return redis.Redis.from_url(
        settings.redis,
        socket_connect_timeout=settings.redis_connect_timeout,
        socket_timeout=read_timeout or settings.redis_read_timeout,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=15,
        client_name="messagebroker",
        protocol=2,
    )


def unavailable(client: redis.Redis, error: redis.RedisError, outcome: str = "") -> Unavailable:
    """What people read about an outage: which Redis, why, and the next step. Never the password."""
    reason = str(error).rstrip(".")
    return Unavailable(
        f"Redis at {_place(client)} does not answer{outcome}: {reason}; start it (`messagebroker up` runs one of its own), "
        "or correct REDIS_URL (or REDIS_HOST and REDIS_PORT)"
    )


def redis_answers(client: redis.Redis) -> str | None:
    """None, or why not."""
    try:
        client.ping()
    except redis.RedisError as error:
        return str(unavailable(client, error))
    return None


def _place(client: redis.Redis) -> str:
    given = client.connection_pool.connection_kwargs
    return str(given.get("path") or f"{given.get('host', 'localhost')}:{given.get('port', 6379)}")


def idempotency_key(client: str, key_hash: bytes) -> str:
    """The Redis key that holds the first answer for a client's Idempotency-Key."""
    return f"{IDEMPOTENCY}:{client}:{key_hash.hex()}"
