"""Who is logged in: tokens live here, in this process' memory, and nowhere else.

A browser holds a random cookie value; the table is keyed by its hash, so that not even a memory dump of the keys logs in.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from messagebroker.client import Caller
from messagebroker.client.answers import Person, Token

REFRESH_AFTER = 2 / 3  # of a token's life
PER_PERSON = 20  # sessions; a further login ends the one that was used least recently


class End(StrEnum):
    """Why a session ended; the login page says it in words."""

    LOGOUT = "logout"
    IDLE = "idle"
    EXPIRED = "expired"
    REPLACED = "replaced"
    PASSWORD = "password"  # nosec B105 # noqa: S105


@dataclass(eq=False)
class Session:
    """One person's login in one browser."""

    person: Person
    token: str = field(repr=False)
    refresh: str | None = field(repr=False)  # None: there is none, or it is being used up
    must_change_password: bool
    ends_at: float  # monotonic; when the token expires
    refresh_at: float  # monotonic; a while before
    used_at: float  # monotonic; the last page or click, not what a page fetches by itself
    on_end: set[Callable[[End], None]] = field(default_factory=set, repr=False)
    previous: dict[str, str] = field(default_factory=dict, repr=False)  # list position → the one before it

    def caller(self, address: str | None, user_agent: str | None) -> Caller:
        """On whose behalf main is asked."""
        return Caller(token=self.token, address=address, user_agent=user_agent)


class Sessions:
    """The table of sessions. For one event loop."""

    def __init__(self, idle_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._by_key: dict[bytes, Session] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def open(self, token: Token, person: Person) -> str:
        """A new session; the value of its cookie."""
        now = self._clock()
        self._make_room_for(person)
        value = secrets.token_urlsafe(32)
        self._by_key[_key(value)] = Session(
            person=person,
            token=token.access_token,
            refresh=token.refresh_token,
            must_change_password=token.must_change_password or person.must_change_password,
            ends_at=now + token.expires_in,
            refresh_at=now + token.expires_in * REFRESH_AFTER,
            used_at=now,
        )
        return value

    def find(self, value: str | None) -> Session | None:
        """The session of a cookie value, if it has not ended."""
        session = self._by_key.get(_key(value)) if value else None
        if session is None:
            return None
        reason = self._reason_to_end(session)
        if reason is not None:
            self.end(session, reason)
            return None
        return session

    def is_open(self, session: Session) -> bool:
        """Whether a page that holds `session` may still act for its person; counts as no use."""
        return session in self._by_key.values() and self._reason_to_end(session) is None

    def take_due(self) -> list[tuple[Session, str]]:
        """Sessions in use whose token ends soon, with their refresh tokens, which nobody else gets: each is good once."""
        now = self._clock()
        due = [s for s in self._by_key.values() if s.refresh and now >= s.refresh_at and self._reason_to_end(s) is None]
        taken = [(session, session.refresh or "") for session in due]
        for session in due:
            session.refresh = None
        return taken

    def renewed(self, session: Session, token: Token) -> None:
        """The session goes on with this token."""
        if self.is_open(session):
            now = self._clock()
            session.token, session.refresh = token.access_token, token.refresh_token
            session.ends_at, session.refresh_at = now + token.expires_in, now + token.expires_in * REFRESH_AFTER

    def try_again(self, session: Session, refresh: str, seconds: float) -> None:
        """The refresh token was not used up; a little later it may be."""
        if self.is_open(session):
            session.refresh, session.refresh_at = refresh, self._clock() + seconds

    def used(self, session: Session) -> None:
        """The person did something just now."""
        session.used_at = self._clock()

    def end(self, session: Session, reason: End) -> None:
        """Forgets the session and tells its open pages."""
        self._by_key = {key: other for key, other in self._by_key.items() if other is not session}
        session.token, session.refresh = "", None
        told, session.on_end = session.on_end, set()
        for tell in told:
            tell(reason)

    def end_all_of(self, email: str, reason: End) -> None:
        """Logs a person out everywhere."""
        for session in [s for s in self._by_key.values() if s.person.email == email]:
            self.end(session, reason)

    def sweep(self) -> None:
        """Ends what nobody uses any more."""
        for session in list(self._by_key.values()):
            reason = self._reason_to_end(session)
            if reason is not None:
                self.end(session, reason)

    def _reason_to_end(self, session: Session) -> End | None:
        now = self._clock()
        if now >= session.ends_at:
            return End.EXPIRED
        return End.IDLE if now - session.used_at >= self._idle_seconds else None

    def _make_room_for(self, person: Person) -> None:
        theirs = sorted((s for s in self._by_key.values() if s.person.email == person.email), key=lambda s: s.used_at)
        for session in theirs[: max(len(theirs) - PER_PERSON + 1, 0)]:
            self.end(session, End.REPLACED)


def _key(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "replace")).digest()
