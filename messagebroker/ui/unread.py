"""How much of the inbox is unread, as a mark beside the way there."""

from __future__ import annotations

from nicegui import ui

from messagebroker.client import Caller, ClientError
from messagebroker.ui.elements import Text
from messagebroker.ui.portal import Portal
from messagebroker.ui.sessions import Session

MOST = 1000
"""What main counts to."""


class Unread:
    """Refreshes itself while the page is open; shows nothing when there is nothing, or nobody can say."""

    def __init__(self, portal: Portal, session: Session, caller: Caller, seconds: float) -> None:
        self.portal = portal
        self.session = session
        self.caller = caller
        self.mark = Text("span", "", "unread-count")
        ui.timer(seconds, self.refresh)

    async def refresh(self) -> None:
        """Asks main once more."""
        if not self.portal.sessions.is_open(self.session):
            return
        try:
            self.show((await self.portal.api.unread_count(self.caller)).unread)
        except ClientError:
            self.show(0)

    def show(self, number: int) -> None:
        """A number that people can take in."""
        told = f"{MOST - 1}+" if number >= MOST else str(number)
        self.mark.text = f" {told}" if number else ""  # a word of its own for who hears the link
        self.mark.props["title"] = f"{number} unread" if number else ""
        self.mark.update()
