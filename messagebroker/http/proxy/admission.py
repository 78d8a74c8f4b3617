"""What Redis says about itself, once a second: whether there is room, and what an acknowledgement is worth."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import redis
import structlog
from redis.exceptions import RedisError, ResponseError

from messagebroker.http.proxy import outage

Durability = Literal["fsync", "memory"]
POLL_SECONDS = 1.0
_DISK_FLOOR = 1 << 30  # a disk with more than this to spare, and twice the append-only file, is not full at 80 %
_LOCAL = ("localhost", "127.0.0.1", "::1")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RedisState:
    """One look at Redis."""

    durability: Durability = "memory"
    memory_used: float = 0.0  # of maxmemory, 0 to 1; 0 without a limit
    is_full: bool = False
    answers: bool = False
    warnings: tuple[str, ...] = ()


class Admission:
    """Follows Redis in a thread.

    Args:
        client: a Redis client.
        refuse_above: the share of maxmemory, or of Redis' disk, above which nothing is taken in: the rest is what
            workers need to drain the queue.
    """

    def __init__(self, client: redis.Redis, refuse_above: float) -> None:
        self._client = client
        self._refuse_above = refuse_above
        self._is_local = str(client.connection_pool.connection_kwargs.get("host", "localhost")) in _LOCAL
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="redis-admission", daemon=True)
        self.state = RedisState()

    def start(self) -> None:
        """Looks once, then goes on in the background."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(3)

    def check(self) -> None:
        """Raises the problem when there is no room. While Redis does not answer, the write itself finds out."""
        if self.state.is_full:
            raise outage.full()

    def ready_problem(self) -> str | None:
        """For /health/ready."""
        if not self.state.answers:
            return "the queue does not answer"
        return "the queue is full" if self.state.is_full else None

    def warnings(self) -> list[str]:
        """For /health."""
        return list(self.state.warnings)

    def look(self) -> None:
        """Takes one look."""
        try:
            info: dict[str, Any] = self._client.info()
            state = self._judged(info, self._configuration())
        except RedisError as error:
            if self.state.answers:
                log.warning("Redis does not answer", error=str(error))
            state = RedisState(durability=self.state.durability, memory_used=self.state.memory_used)
        if state.is_full and not self.state.is_full:
            log.warning("Redis is full: messages are refused until workers have drained it", used=round(state.memory_used, 3))
        self.state = state

    def _follow(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            try:
                self.look()
            except Exception as error:
                log.error("cannot judge Redis", exc_info=error)

    def _configuration(self) -> dict[str, str]:
        """Empty where an operator or provider has forbidden CONFIG."""
        try:
            found = [self._client.config_get(name) for name in ("appendfsync", "dir")]
        except ResponseError:
            return {}
        return {str(name): str(value) for part in found for name, value in part.items()}

    def _judged(self, info: dict[str, Any], config: dict[str, str]) -> RedisState:
        limit = int(info.get("maxmemory") or 0)
        used = int(info.get("used_memory") or 0) / limit if limit else 0.0
        is_durable = (
            bool(info.get("aof_enabled"))
            and config.get("appendfsync") == "always"
            and info.get("aof_last_write_status", "ok") == "ok"
        )
        is_full = used >= self._refuse_above or self._disk_is_full(info, config)
        durability: Durability = "fsync" if is_durable else "memory"
        return RedisState(durability, used, is_full, True, tuple(_warnings(info, config, limit, is_durable)))

    def _disk_is_full(self, info: dict[str, Any], config: dict[str, str]) -> bool:
        """Only known when Redis runs on this machine."""
        folder = config.get("dir")
        if not folder or not self._is_local or not info.get("aof_enabled"):
            return False
        try:
            usage = shutil.disk_usage(Path(folder))
        except OSError:
            return False
        reserve = max(_DISK_FLOOR, 2 * int(info.get("aof_current_size") or 0))
        return usage.used >= self._refuse_above * usage.total and usage.free < reserve


def _warnings(info: dict[str, Any], config: dict[str, str], limit: int, is_durable: bool) -> list[str]:
    found = []
    eviction = str(info.get("maxmemory_policy") or "noeviction")
    if eviction != "noeviction":
        found.append(f"Redis evicts ({eviction}) and so loses messages in silence; set: maxmemory-policy noeviction")
    if not limit:
        found.append("Redis has no memory limit, so that it can be killed when memory ends; set: maxmemory 2gb (or what fits)")
    if not is_durable and config:
        found.append("Redis does not sync every write, so that a power cut can lose accepted messages; set: "
                     "appendonly yes and appendfsync always")  # fmt: skip
    elif not is_durable:
        found.append("Redis does not say how it persists (CONFIG is forbidden), so that its durability counts as memory only")
    if info.get("aof_last_write_status", "ok") != "ok":
        found.append("Redis could not write its append-only file; look at its disk")
    return found
