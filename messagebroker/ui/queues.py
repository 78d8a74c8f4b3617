"""The queues: depth in messages, beside the age of the oldest."""

from __future__ import annotations

from nicegui import ui
from starlette.requests import Request
from starlette.responses import Response

from messagebroker.client import Caller, ClientError
from messagebroker.client.answers import QueueStats
from messagebroker.ui.elements import Tag, Text
from messagebroker.ui.frame import draw_trouble, frame, needs_login, trouble
from messagebroker.ui.markup import show, table
from messagebroker.ui.messages import BUILD_SECONDS
from messagebroker.ui.portal import Portal
from messagebroker.ui.wording import age

TITLE = "Queues"
REFRESH_SECONDS = 5.0
COLUMNS = {"Queue": "", "Messages": "number", "Running": "number", "Oldest": "number"}


class Queues:
    """Everything at `/queues`."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        ui.page("/queues", title=TITLE, response_timeout=BUILD_SECONDS)(self.show)

    async def show(self, request: Request) -> Response | None:
        """The table, which refreshes itself."""
        caller = self.portal.caller_of(request, self.portal.session_of(request))
        try:
            stats = await self.portal.api.queue_stats(caller)
        except ClientError as error:
            return trouble(self.portal, request, TITLE, error)
        with frame(self.portal, request, TITLE):
            Text("h1", TITLE)
            Text("p", "Messages that wait in Redis or are being stored now. Refreshes by itself.", "hint")
            with Tag("div") as place:
                _draw(stats)
            ui.timer(REFRESH_SECONDS, lambda: self._refresh(request, caller, place), immediate=False)
        return None

    async def _refresh(self, request: Request, caller: Caller, place: Tag) -> None:
        if not self.portal.sessions.is_open(self.portal.session_of(request)):
            return
        try:
            stats = await self.portal.api.queue_stats(caller)
        except ClientError as error:
            if not needs_login(self.portal, request, error):
                place.clear()
                with place:
                    draw_trouble(error)
            return
        place.clear()
        with place:
            _draw(stats)


def _draw(stats: QueueStats) -> None:
    rows = [
        [queue.queue, f"{queue.messages:,}", f"{queue.running:,}", age(queue.oldest_seconds) if queue.messages else "–"]
        for queue in stats.queues
    ]
    show(table("Queues", COLUMNS, rows, "labelled"), "card table")
