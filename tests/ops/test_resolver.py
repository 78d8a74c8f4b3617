from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from messagebroker.ops import resolver
from messagebroker.ops.resolver import Resolver, Unresolvable


def test_a_name_is_asked_for_once_at_a_time_and_once_in_a_while() -> None:
    asked: list[str] = []

    def look_up(host: str) -> list[str]:
        asked.append(host)
        time.sleep(0.01)
        return ["1.1.1.1", "1.1.1.1", "2606::1"]

    async def run() -> None:
        known = Resolver(look_up)
        assert set(await asyncio.gather(*(known.addresses("a") for _ in range(50)))) == {("1.1.1.1", "2606::1")}
        assert await known.addresses("a") == ("1.1.1.1", "2606::1")

    asyncio.run(run())
    assert asked == ["a"]


def failing(error: Exception) -> Callable[[str], list[str]]:
    def look_up(host: str) -> list[str]:
        raise error

    return look_up


@pytest.mark.parametrize("error", [OSError("nothing known"), UnicodeError("label too long")])
def test_failures_are_known_for_a_while_too(error: Exception) -> None:
    async def run() -> None:
        known = Resolver(failing(error))
        with pytest.raises(Unresolvable, match=f"the name a has no address: {error}"):
            await known.addresses("a")
        known._look_up = lambda host: ["1.1.1.1"]
        with pytest.raises(Unresolvable):
            await known.addresses("a")

    asyncio.run(run())


def test_an_empty_answer_is_none() -> None:
    with pytest.raises(Unresolvable, match="the answer is empty"):
        asyncio.run(Resolver(lambda host: []).addresses("a"))


def test_who_gives_up_leaves_the_others_their_answer() -> None:
    free = threading.Event()
    asked: list[str] = []

    def look_up(host: str) -> list[str]:
        asked.append(host)
        free.wait(5)
        return ["1.1.1.1"]

    async def run() -> None:
        known = Resolver(look_up)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await known.addresses("a")
        waiting = asyncio.create_task(known.addresses("a"))
        await asyncio.sleep(0)
        free.set()
        assert await waiting == ("1.1.1.1",)

    asyncio.run(run())
    assert asked == ["a"]


def test_many_dead_names_do_not_keep_healthy_ones_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once they are known to be dead."""
    monkeypatch.setattr(resolver, "_FAILED_SECONDS", 0.0)
    free = threading.Event()
    is_first = True

    def look_up(host: str) -> list[str]:
        if host == "healthy":
            return ["1.1.1.1"]
        if not is_first:
            free.wait(5)
        raise OSError("nobody answers")

    async def run() -> None:
        nonlocal is_first
        known = Resolver(look_up)
        dead = [f"dead{number}" for number in range(100)]
        await asyncio.gather(*(known.addresses(host) for host in dead), return_exceptions=True)
        is_first = False
        waiting = [asyncio.create_task(known.addresses(host)) for host in dead]
        await asyncio.sleep(0.01)
        async with asyncio.timeout(2):
            assert await known.addresses("healthy") == ("1.1.1.1",)
        free.set()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(run())
