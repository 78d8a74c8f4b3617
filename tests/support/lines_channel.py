"""A channel that the product does not have: it writes a line a message into a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from messagebroker.ops.channels import Entry
from messagebroker.ops.channels.channel import Outcome, Work
from messagebroker.settings import Settings


class LinesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to."""

    path: str


class Lines:
    """See channel.Channel."""

    name = "lines"
    config = LinesConfig
    secrets = None
    at_once = 1
    merges = 1

    def __init__(self, settings: Settings) -> None:
        del settings

    async def deliver(self, works: Sequence[Work]) -> Sequence[Outcome]:
        """All of them at the end of the file."""
        with Path(works[0].target.config.path).open("a", encoding="utf-8") as file:
            file.writelines(f"{work.topic}: {work.payload.body}\n" for work in works)
        return [Outcome(kind="delivered") for _ in works]

    async def close(self) -> None:
        """Holds nothing open."""


LINES = Entry(name="lines", config=LinesConfig, place="support.lines_channel:Lines")
