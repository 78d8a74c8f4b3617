"""Time that passes for what Redis counts."""

from __future__ import annotations

import redis as redis_py


def pass_time(redis: redis_py.Redis, seconds: float, scope: str = "*") -> None:
    """Moves what is stored of lockouts into the past."""
    for key in redis.keys(f"messagebroker:lockout:*:{scope}:*"):
        for field in ("at", "till"):
            redis.hset(key, field, int(float(redis.hget(key, field) or 0) - seconds * 1000))
