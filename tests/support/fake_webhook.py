"""The channel of webhooks without a network."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import ClassVar

import pytest

from messagebroker.ops.channels import CHANNELS, Entry
from messagebroker.ops.channels.channel import Outcome, Work
from messagebroker.settings import Settings


class FakeWebhook:
    """Answers what the test says, and remembers what it was given."""

    name, at_once, merges = "webhook", 1, 1
    answers: Outcome = Outcome(kind="delivered", code=204, request={"webhook-id": "1"}, answer=b"thanks")
    works: ClassVar[list[Work]] = []
    hold: threading.Event | None = None
    entered = threading.Event()

    def __init__(self, settings: Settings) -> None:
        del settings

    async def deliver(self, works: Sequence[Work]) -> Sequence[Outcome]:
        self.works.extend(works)
        if self.hold is not None:
            self.entered.set()
            self.hold.wait(10)
        return [self.answers]

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def fake_webhook(monkeypatch: pytest.MonkeyPatch) -> type[FakeWebhook]:
    known = CHANNELS["webhook"]
    fields = {name: getattr(known, name) for name in Entry.__dataclass_fields__}
    entry = Entry(**{**fields, "place": "support.fake_webhook:FakeWebhook"})
    monkeypatch.setitem(CHANNELS, "webhook", entry)
    monkeypatch.setattr(FakeWebhook, "works", [])
    return FakeWebhook
