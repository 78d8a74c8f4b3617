"""What every page needs: the API client, the sessions, and who is asking."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import Request

from messagebroker.client import AsyncApiClient, Caller, Problem, Unreachable
from messagebroker.settings import Settings
from messagebroker.ui.metrics import Metrics
from messagebroker.ui.sessions import End, Session, Sessions

SESSION = "portal.session"  # where the gate puts the session into the ASGI scope

RETRY_SECONDS = 5.0


@dataclass(frozen=True)
class Portal:
    """The parts of one portal process."""

    settings: Settings
    api: AsyncApiClient
    sessions: Sessions
    metrics: Metrics

    async def refresh_tokens(self) -> None:
        """New tokens for sessions whose tokens end soon. What cannot be refreshed ends with its token."""
        await asyncio.gather(*(self._refresh(session, token) for session, token in self.sessions.take_due()))

    async def _refresh(self, session: Session, refresh: str) -> None:
        try:
            self.sessions.renewed(session, await self.api.refresh(refresh))
        except Problem as error:
            if error.status in (401, 403):
                self.sessions.end(session, End.EXPIRED)
            elif error.status in (429, 503):
                self.sessions.try_again(session, refresh, error.retry_after or RETRY_SECONDS)
        except Unreachable as error:
            if error.outcome == "not-sent":
                self.sessions.try_again(session, refresh, RETRY_SECONDS)

    def session_of(self, request: Request) -> Session:
        """The session of a request that the gate let through."""
        session: Session | None = request.scope[SESSION]
        if session is None:
            raise RuntimeError(f"{request.url.path} is a page for people who are logged in, and the gate let a stranger in")
        return session

    def caller_of(self, request: Request, session: Session | None = None) -> Caller:
        """On whose behalf main is asked: the person (when `session` is given), from the browser's own address."""
        address = request.client.host if request.client else None
        agent = request.headers.get("user-agent")
        return session.caller(address, agent) if session else Caller(address=address, user_agent=agent)
