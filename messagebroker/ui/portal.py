"""What every page needs: the API client, the sessions, and who is asking."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from messagebroker.client import AsyncApiClient, Caller
from messagebroker.settings import Settings
from messagebroker.ui.metrics import Metrics
from messagebroker.ui.sessions import Session, Sessions

SESSION = "portal.session"  # where the gate puts the session into the ASGI scope


@dataclass(frozen=True)
class Portal:
    """The parts of one portal process."""

    settings: Settings
    api: AsyncApiClient
    sessions: Sessions
    metrics: Metrics

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
