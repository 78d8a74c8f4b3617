"""Clients that take messages: what they send, and what a loop over messages does with each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from support.scripted import DROP, Answer, Asked, Scripted, problem

from messagebroker.client import AsyncPullClient, Problem, PullClient, Retry

pytestmark = pytest.mark.clocked

QUICK = Retry(attempts=3, first_pause=0.01)


def message(number: int) -> dict[str, Any]:
    return {
        "lease_id": f"lease-{number}", "lease_until": "2026-01-01T00:00:00Z", "attempt": 1, "message_id": f"m-{number}",
        "topic": "orders", "client": "till-7", "body": str(number), "later": "members are no trouble",
    }  # fmt: skip


class Store:
    """Answers pulls with what is there, and says `done` to everything."""

    def __init__(self, *pieces: list[int], retry_after: str | None = None) -> None:
        self.pieces = list(pieces)
        self._retry_after = {"Retry-After": retry_after} if retry_after else {}

    def __call__(self, asked: Asked) -> Answer:
        if "lease_ids" in asked.json:
            return Answer(document={"items": [{"lease_id": one, "result": "done"} for one in asked.json["lease_ids"]]})
        if not self.pieces:
            return problem(409, "conflict", "the end of the test")
        return Answer(document={"items": [message(number) for number in self.pieces.pop(0)]}, headers=self._retry_after)


def told(main: Scripted) -> list[tuple[str, list[str]]]:
    """What was said of leases."""
    return [(one.path.rpartition("/")[2], one.json["lease_ids"]) for one in main.asked if "lease_ids" in one.json]


def files(certs: Path) -> dict[str, Path]:
    return {"cert": certs / "till-7.crt", "key": certs / "till-7.key", "ca": certs / "ca.crt"}


def test_each_request_is_what_the_api_asks_for(certs: Path) -> None:
    with Scripted(certs, Store([1]), role="main") as main, PullClient(main.url, **files(certs)) as client:
        [one] = client.pull(7, most=3, wait=2.5, lease=30).items
        assert (one.body, one.lease_id, one.attempt) == ("1", "lease-1", 1)
        client.acknowledge(7, [one.lease_id])
        client.extend(7, [one.lease_id], lease=90)
        assert client.return_(7, [one.lease_id], delay=5).items[0].result == "done"
    assert [(asked.path, asked.json) for asked in main.asked] == [
        ("/api/v1/pull/7", {"max": 3, "wait_seconds": 2.5, "lease_seconds": 30}),
        ("/api/v1/pull/7/acknowledge", {"lease_ids": ["lease-1"]}),
        ("/api/v1/pull/7/extend", {"lease_ids": ["lease-1"], "lease_seconds": 90}),
        ("/api/v1/pull/7/return", {"lease_ids": ["lease-1"], "delay_seconds": 5}),
    ]
    assert main.asked[0].peer == "urn:messagebroker:client:till-7"


def test_a_pull_whose_answer_was_lost_is_repeated(certs: Path) -> None:
    with Scripted(certs, DROP, Store([1]), role="main") as main:
        with PullClient(main.url, **files(certs), retry=QUICK) as client:
            assert len(client.pull(7).items) == 1
    assert len(main.asked) == 2


def heard_in_threads(url: str, certs: Path, handle: Callable[[str], None]) -> None:
    with PullClient(url, **files(certs), retry=QUICK) as client:
        for one in client.listen(7):
            handle(str(one.body))


def heard_by_a_loop(url: str, certs: Path, handle: Callable[[str], None]) -> None:
    async def hear() -> None:
        async with AsyncPullClient(url, **files(certs), retry=QUICK) as client, aclosing(client.listen(7)) as messages:
            async for one in messages:
                handle(str(one.body))

    asyncio.run(hear())


Hear = Callable[[str, Path, Callable[[str], None]], None]


@pytest.mark.parametrize("hear", [heard_in_threads, heard_by_a_loop])
def test_a_loop_acknowledges_what_it_is_done_with(certs: Path, hear: Hear) -> None:
    heard: list[str] = []
    with Scripted(certs, Store([1, 2], [], [3]), role="main") as main:
        with pytest.raises(Problem, match="the end of the test"):
            hear(main.url, certs, heard.append)
    assert heard == ["1", "2", "3"]
    assert told(main) == [("acknowledge", [f"lease-{number}"]) for number in (1, 2, 3)]


@pytest.mark.parametrize("hear", [heard_in_threads, heard_by_a_loop])
def test_a_loop_that_fails_returns_what_it_has(certs: Path, hear: Hear) -> None:
    def handle(body: str) -> None:
        if body == "2":
            raise ValueError("no stock")

    with Scripted(certs, Store([1, 2, 3, 4]), role="main") as main:
        with pytest.raises(ValueError, match="no stock"):
            hear(main.url, certs, handle)
    assert told(main) == [("acknowledge", ["lease-1"]), ("return", ["lease-2"]), ("return", ["lease-3", "lease-4"])]
    assert [asked.json["delay_seconds"] for asked in main.asked[-2:]] == [10.0, 0.0]


@pytest.mark.tier("processes")
@pytest.mark.parametrize("hear", [heard_in_threads, heard_by_a_loop])
def test_a_loop_is_patient_where_there_is_no_room_to_wait(certs: Path, hear: Hear) -> None:
    with Scripted(certs, Store([], retry_after="1"), role="main") as main:
        began = time.monotonic()
        with pytest.raises(Problem):
            hear(main.url, certs, print)
    assert time.monotonic() - began >= 1
