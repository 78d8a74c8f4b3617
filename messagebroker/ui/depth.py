"""The queue's depth in the header: messages waiting, and how long the oldest has."""

from __future__ import annotations

from nicegui import ui

from messagebroker.client import Caller, ClientError
from messagebroker.client.answers import QueueStats
from messagebroker.ui.elements import Tag, Text
from messagebroker.ui.portal import Portal
from messagebroker.ui.sessions import Session
from messagebroker.ui.wording import age

SLOW_SECONDS = 60.0  # a queue whose oldest message is older than this deserves a look


class Depth:
    """Refreshes itself while the page is open."""

    def __init__(self, portal: Portal, session: Session, caller: Caller, seconds: float) -> None:
        self.portal = portal
        self.session = session
        self.caller = caller
        with Tag("a", "depth", href="/queues", aria_label="Queue depth") as self.box:
            Text("span", "Queue", "word")
            self.count = Text("strong", "…")
            self.oldest = Text("span", "", "oldest")
        ui.timer(seconds, self.refresh)

    async def refresh(self) -> None:
        """Asks main once more."""
        if not self.portal.sessions.is_open(self.session):
            return
        try:
            self.show(await self.portal.api.queue_stats(self.caller))
        except ClientError:
            self.count.text, self.oldest.text = "unknown", ""

    def show(self, stats: QueueStats) -> None:
        """Depth is always beside the oldest message's age: alone it says little."""
        oldest = stats.oldest_seconds if stats.messages else None
        self.count.text = f"{stats.messages:,}"
        self.oldest.text = age(oldest) if oldest is not None else ""
        self.box.classes(add="slow") if (oldest or 0) > SLOW_SECONDS else self.box.classes(remove="slow")
