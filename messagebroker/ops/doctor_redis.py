"""Doctor: whether Redis keeps what proxies promised, with the line of its configuration to change."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import redis as redis_py

from messagebroker.ops.findings import Finding, Findings
from messagebroker.ops.redis_client import connect
from messagebroker.settings import Settings

OLDEST = (6, 2)
_PINGS = 15
_SLOW_MS = 10.0
_findings = Findings("redis")


def check(settings: Settings) -> Iterator[Finding]:
    """Reachable, recent, durable, bounded, never evicting, near."""
    with connect(settings) as client:
        try:
            info: dict[str, Any] = client.info()
        except (redis_py.AuthenticationError, redis_py.ResponseError) as error:
            yield _findings.error(f"Redis refuses: {error}", "set REDIS_URL (or REDIS_PASSWORD) to its user and password")
            return
        except redis_py.RedisError as error:
            yield _unreachable(settings, error)
            return
        yield _version(str(info["redis_version"]))
        yield from _persistence(client, info)
        yield from _memory(settings, info)
        yield _round_trip(client)


def _unreachable(settings: Settings, error: redis_py.RedisError) -> Finding:
    if settings.uses_embedded_redis:
        return _findings.warning("the embedded Redis does not run", "`messagebroker up` starts it with everything else")
    return _findings.error(f"Redis does not answer: {error}", "start it, or set REDIS_URL (or REDIS_HOST and REDIS_PORT)")


def _version(version: str) -> Finding:
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        return _findings.error(f"Redis {version} is too old", "install Redis 6.2 or newer")
    return _findings.ok(f"Redis {version} answers")


def _persistence(client: redis_py.Redis, info: dict[str, Any]) -> Iterator[Finding]:
    if not info.get("aof_enabled"):
        yield _line("error", "appendonly is no: when Redis restarts, every waiting message is lost", "appendonly yes")
        return
    if info.get("aof_last_write_status", "ok") != "ok":
        yield _findings.error("Redis could not write its append-only file", "look at its disk and its log")
    try:
        answer: Any = client.config_get("appendfsync")
        fsync = str(answer.get("appendfsync", "unknown"))
    except redis_py.ResponseError:
        yield _findings.warning(
            "Redis does not say its appendfsync (CONFIG is forbidden)", "make sure it is `appendfsync always`"
        )
        return
    if fsync == "always":
        yield _findings.ok("appendonly yes, appendfsync always: a 202 survives a power cut")
    else:
        yield _line("warning", f"appendfsync is {fsync}: a power cut loses the last accepted messages", "appendfsync always")


def _memory(settings: Settings, info: dict[str, Any]) -> Iterator[Finding]:
    limit, used, policy = int(info.get("maxmemory", 0)), int(info["used_memory"]), str(info.get("maxmemory_policy"))
    if limit == 0:
        yield _line("warning", "maxmemory is not set: when memory ends, the system kills Redis", "maxmemory 1gb")
    elif used > limit * settings.refuse_above_memory:
        text = f"Redis uses {used / limit:.0%} of its maxmemory, so proxies refuse new messages"
        yield _findings.error(text, "see `messagebroker queue stats`: start more workers, or raise maxmemory")
    else:
        yield _findings.ok(f"Redis uses {used / limit:.0%} of its maxmemory ({limit >> 20} MiB)")
    if policy == "noeviction":
        yield _findings.ok("maxmemory-policy noeviction")
    else:
        text = f"maxmemory-policy is {policy}: under pressure Redis deletes waiting messages without a word"
        yield _line("error", text, "maxmemory-policy noeviction")


def _line(level: str, text: str, line: str) -> Finding:
    """With the line for redis.conf, and the command that does it at once."""
    fix = f"in redis.conf: `{line}`; at once: `redis-cli CONFIG SET {line}`"
    return _findings.error(text, fix) if level == "error" else _findings.warning(text, fix)


def _round_trip(client: redis_py.Redis) -> Finding:
    times = []
    for _ in range(_PINGS):
        start = time.perf_counter()
        client.ping()
        times.append((time.perf_counter() - start) * 1000)
    median = statistics.median(times)
    if median > _SLOW_MS:
        text = f"a round trip to Redis takes {median:.1f} ms, and every submit waits for one"
        return _findings.warning(text, "run Redis in the same data centre as the proxies")
    return _findings.ok(f"a round trip to Redis takes {median:.2f} ms")
