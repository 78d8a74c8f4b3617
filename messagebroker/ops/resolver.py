"""Addresses of names, looked up by the system beside the event loop, and remembered for a few seconds."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from messagebroker.errors import Unavailable

LookUp = Callable[[str], list[str]]
"""Blocks; raises OSError or UnicodeError."""

_GOOD_SECONDS = 5.0
_FAILED_SECONDS = 1.0
_SLOW_SECONDS = 1.0
_AT_ONCE = 24
_SLOW_AT_ONCE = 8  # names that were slow or failed: many dead ones must not keep healthy ones waiting
_MOST = 8192


class Unresolvable(Unavailable):
    """The name has no address now. Names come and go, so it may have one later."""


@dataclass(frozen=True)
class _Known:
    until: float  # time.monotonic()
    addresses: tuple[str, ...]
    error: str | None
    is_slow: bool


def by_system(host: str) -> list[str]:
    """What the machine's own resolver says, IPv4 and IPv6, in the order of its preference."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


class Resolver:
    """Of one event loop. A name is asked for once at a time, whoever waits for it."""

    def __init__(self, look_up: LookUp = by_system) -> None:
        self._look_up = look_up
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[_Known]] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._slow_places = asyncio.Semaphore(_SLOW_AT_ONCE)

    async def addresses(self, host: str) -> tuple[str, ...]:
        """At least one.

        Raises:
            Unresolvable: there is none, or nobody knows.
        """
        known = self._known.get(host)
        if known is None or known.until <= time.monotonic():
            task = self._asking.get(host)
            if task is None:
                task = self._asking[host] = asyncio.create_task(self._asked(host, known is not None and known.is_slow))
            known = await asyncio.shield(task)  # who gives up leaves the others their answer
        if known.error is not None:
            raise Unresolvable(known.error)
        return known.addresses

    def close(self) -> None:
        """Waits for nobody any more."""
        for task in self._asking.values():
            task.cancel()

    async def _asked(self, host: str, is_slow: bool) -> _Known:
        try:
            async with self._slow_places if is_slow else self._places:
                began = time.monotonic()
                try:
                    found, error = await self._in_thread(host), None
                except (OSError, UnicodeError) as problem:
                    found, error = [], getattr(problem, "strerror", None) or str(problem)
            now = time.monotonic()
            if not found:
                error = f"the name {host} has no address: {error or 'the answer is empty'}"
            known = _Known(
                until=now + (_FAILED_SECONDS if error else _GOOD_SECONDS),
                addresses=tuple(dict.fromkeys(found)),
                error=error,
                is_slow=error is not None or now - began > _SLOW_SECONDS,
            )
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[host] = known
            return known
        finally:
            del self._asking[host]

    async def _in_thread(self, host: str) -> list[str]:
        """In a thread of its own that nobody waits for at the end: a look-up cannot be stopped, and may take half a minute."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[str]] = loop.create_future()

        def run() -> None:
            try:
                found, problem = self._look_up(host), None
            except (OSError, UnicodeError) as error:
                found, problem = [], error
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(_settle, future, found, problem)

        threading.Thread(target=run, name=f"resolve {host[:40]}", daemon=True).start()
        return await future


def _settle(future: asyncio.Future[list[str]], found: list[str], problem: Exception | None) -> None:
    if future.cancelled():
        return
    if problem is None:
        future.set_result(found)
    else:
        future.set_exception(problem)
