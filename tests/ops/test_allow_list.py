from __future__ import annotations

import asyncio

import peewee as pw
import pytest

from messagebroker.db.models import AllowedNetwork
from messagebroker.errors import Unavailable
from messagebroker.ops import allow_list, clock
from messagebroker.ops.allow_list import AllowList
from messagebroker.ops.private_networks import parsed


def allow(network: str) -> None:
    AllowedNetwork.create(network=network, reason="test", added_by="ann@example.org", added_at=clock.now())


def test_what_the_table_says_counts_within_a_second(database: pw.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    allow("10.1.0.0/16")
    allow("fd00::/8")

    async def has(known: AllowList, *texts: str) -> list[bool]:
        return [await known.has(parsed(text)) for text in texts]

    async def run() -> None:
        known = AllowList()
        assert await has(known, "10.1.2.3", "10.2.0.1", "fd00::1", "::ffff:10.1.2.3", "fe80::1") == [
            True,
            False,
            True,
            True,
            False,
        ]
        await asyncio.to_thread(lambda: AllowedNetwork.delete().execute())
        monkeypatch.setattr(allow_list, "_SECONDS", 0.0)
        assert await has(known, "10.1.2.3") == [False]

    asyncio.run(run())


def test_it_is_read_once_however_many_ask(database: pw.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    real = allow_list.read
    monkeypatch.setattr(allow_list, "read", lambda: reads.append(1) or real())

    async def run() -> None:
        known = AllowList()
        await asyncio.gather(*(known.has(parsed("10.0.0.1")) for _ in range(50)))

    asyncio.run(run())
    assert len(reads) == 1


def test_without_the_table_nobody_knows(database: pw.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(allow_list, "read", broken)

    async def run() -> None:
        known = AllowList()
        for _ in range(2):
            with pytest.raises(Unavailable):
                await known.has(parsed("10.0.0.1"))

    asyncio.run(run())
