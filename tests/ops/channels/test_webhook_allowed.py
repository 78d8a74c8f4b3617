from __future__ import annotations

import asyncio

import peewee as pw
from support.receiver import Receiver
from support.webhooks import work

from messagebroker.db.models import AllowedNetwork
from messagebroker.ops import clock
from messagebroker.ops.channels import CHANNELS
from messagebroker.ops.channels.channel import Outcome
from messagebroker.settings import Settings


def test_what_workers_make_of_the_table(database: pw.Database, settings: Settings) -> None:
    """Refused, allowed in the table, delivered: by the channel as workers make it, with nothing put in its place."""

    async def one(url: str) -> Outcome:
        channel = CHANNELS["webhook"].make(settings)
        try:
            [outcome] = await channel.deliver([work(url)])
            return outcome
        finally:
            await channel.close()

    with Receiver() as receiver:
        refused = asyncio.run(one(receiver.url))
        assert receiver.connections == 0
        AllowedNetwork.create(network="127.0.0.0/8", reason="tests", added_by="ann@example.org", added_at=clock.now())
        delivered = asyncio.run(one(receiver.url))
    assert (refused.kind, delivered.kind) == ("failed", "delivered")
    assert "`messagebroker webhooks allow`" in str(refused.error)
