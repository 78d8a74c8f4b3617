"""Logins of people: begun with a password, kept alive by refresh tokens of which each is good once, ended by many."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from messagebroker.db.connection import connected
from messagebroker.db.models import PasswordReset, Session, User
from messagebroker.errors import Conflict, Refused
from messagebroker.ops import audit, clock, ids
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change, locked
from messagebroker.ops.tokens import Tokens
from messagebroker.ops.user_lock import locked_user

TOGETHER = timedelta(seconds=10)
"""Two refreshes with the same token in this time, from one place, are one person's two windows; else one is a thief's."""
_KEPT = timedelta(days=30)
_BATCH = 500


class RefreshRefused(Refused):
    """The refresh token is not good (any more): log in again."""


class RefreshedMeanwhile(Refused):
    """Another request used the same refresh token a moment ago, and has the new one."""


class Overtaken(Conflict):
    """What a person showed was good when it was looked at, and is not any more."""


class Why(StrEnum):
    """Why a session ended."""

    LOGOUT = "logout"
    OWNER = "owner"  # from another session of theirs
    MANAGER = "manager"
    PASSWORD = "password"  # nosec B105 # noqa: S105
    DISABLED = "disabled"
    REUSED = "reused"  # of a refresh token: two have it


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What a session answers with."""

    user: User
    session: bytes
    access: str
    refresh: str
    expires_at: datetime  # of the session, unless it is refreshed before


def begin(tokens: Tokens, user: User, *, address: str | None = None, user_agent: str | None = None) -> Pair:
    """A session for somebody who has just shown who they are: `user` as they were then.

    Raises:
        Overtaken: another password was set, or the user disabled, since. Ending all sessions did not meet this one.
    """
    now, session = clock.now(), ids.new()
    refresh, expires_at = tokens.new_refresh(session), now + min(tokens.idle, tokens.longest)
    with change():
        found = locked_user(user.id)
        if found is None or found.password_hash != user.password_hash or found.disabled_at is not None:
            raise Overtaken("another password was set, or the user was disabled, at the same time; log in again")
        User.update(last_login_at=now).where(User.id == user.id).execute()
        Session.insert(
            id=session, user=user.id, created_at=now, seen_at=now, expires_at=expires_at, refresh_hash=_hash(refresh),
            address=audit.ascii_text(address, 45), user_agent=audit.printable(user_agent, 255),
        ).execute()  # fmt: skip
    return Pair(user=found, session=session, access=tokens.issue(found, session), refresh=refresh, expires_at=expires_at)


def refresh(tokens: Tokens, given: str, *, actor: Actor) -> Pair:
    """New tokens for a refresh token, which is used up. One that was used up ends the session: somebody stole it.

    But for a moment, for who has the address and the user agent of whoever used it up: their windows may refresh at once.

    Raises:
        RefreshRefused: it is not good, or not any more.
        RefreshedMeanwhile: it was good until another request from the same place used it just now; that leaves an audit row.
    """
    session = tokens.session_of(given)
    if session is None:
        raise RefreshRefused("this refresh token is not valid; log in again")
    new, now = tokens.new_refresh(session), clock.now()
    place = {"seen_from": audit.ascii_text(actor.address, 45), "seen_agent": audit.printable(actor.user_agent, 255)}
    with change():
        user = _locked_holder(session)
        row = locked(Session.select().where(Session.id == session)).first()
        if row is None or user is None or row.ended_at is not None or row.expires_at <= now or user.disabled_at is not None:
            raise RefreshRefused("this session has ended; log in again")
        if bytes(row.refresh_hash) == _hash(given):
            expires_at = min(now + tokens.idle, row.created_at + tokens.longest)
            Session.update(
                refresh_hash=_hash(new), previous_hash=row.refresh_hash, seen_at=now, expires_at=expires_at, **place
            ).where(Session.id == session).execute()  # fmt: skip
            return Pair(user=user, session=session, access=tokens.issue(user, session), refresh=new, expires_at=expires_at)
        is_last = row.previous_hash is not None and bytes(row.previous_hash) == _hash(given)
        same_place = (row.seen_from, row.seen_agent) == (place["seen_from"], place["seen_agent"])
        together = is_last and same_place and now - row.seen_at < TOGETHER
        if together:
            audit.record_by(actor, "session.refresh-again", "session", ids.text(session), {"user": user.email})
        else:
            _end(session, Why.REUSED, actor, user)
    if together:
        raise RefreshedMeanwhile("another request used this refresh token a moment ago; use the tokens that it got")
    raise RefreshRefused("this refresh token was used before, so that somebody else may have it: the session has ended")


def end(session: bytes, why: Why, actor: Actor, *, user_id: int | None = None) -> bool:
    """Ends a session (of `user_id`'s, when that is given), from its next request on; whether there was one to end."""
    with change():
        user = _locked_holder(session, *_alive(user_id))
        return user is not None and _end(session, why, actor, user)


def end_all(user: User, why: Why, actor: Actor, but: bytes | None = None) -> int:
    """Ends every session of a user, or every other than `but`; how many."""
    with change():
        locked_user(user.id)  # no session of theirs begins or changes meanwhile
        theirs = [Session.user == user.id, Session.ended_at.is_null()]
        if but is not None:
            theirs.append(Session.id != but)
        ended: int = Session.update(ended_at=clock.now(), ended_why=why).where(*theirs).execute()
        if ended:
            audit.record_by(actor, "session.end-all", "user", user.email, {"why": why, "sessions": ended})
    return ended


def page(user_id: int, *, limit: int, after: bytes | None = None) -> list[Session]:
    """Up to `limit` sessions of a user that have not ended, in the order in which they began, after the session `after`."""
    query = Session.select(Session.id).where(*_alive(user_id))
    if after is not None:
        query = query.where(Session.id > after)
    with connected():
        wanted = [row.id for row in query.order_by(Session.id).limit(limit)]  # of an index alone
        return list(Session.select().where(Session.id.in_(wanted)).order_by(Session.id)) if wanted else []


def came_from(email: str, address: str) -> bool:
    """Whether the user of this address of e-mail logged in from that address before, or used a code from an e-mail there."""
    begun = Session.select(Session.id).join(User).where(User.email == email, Session.address == address)
    reset = PasswordReset.select(PasswordReset.created_at).join(User)
    reset = reset.where(User.email == email, PasswordReset.used_from == address)
    with connected():
        return bool(begun.exists() or reset.exists())


def count_active() -> int:
    """How many sessions there are that have not ended."""
    with connected():
        return int(Session.select().where(Session.expires_at > clock.now(), Session.ended_at.is_null()).count())


def forget_old() -> int:
    """Removes sessions that expired a month ago, and the few that ended earlier with them; how many."""
    before, removed = clock.now() - _KEPT, 0
    while True:
        with connected():
            found = [row.id for row in Session.select(Session.id).where(Session.expires_at < before).limit(_BATCH)]
            removed += Session.delete().where(Session.id.in_(found)).execute() if found else 0
        if len(found) < _BATCH:
            return removed


def _locked_holder(session: bytes, *conditions: Any) -> User | None:
    row = Session.select(Session.user).where(Session.id == session, *conditions).first()
    return None if row is None else locked_user(row.user_id)


def _alive(user_id: int | None) -> list[Any]:
    conditions: list[Any] = [Session.ended_at.is_null(), Session.expires_at > clock.now()]
    return conditions if user_id is None else [Session.user == user_id, *conditions]


def _end(session: bytes, why: Why, actor: Actor, user: User) -> bool:
    """The first who ends it leaves the audit row."""
    ended = (
        Session.update(ended_at=clock.now(), ended_why=why).where(Session.id == session, Session.ended_at.is_null()).execute()
    )
    if ended:
        audit.record_by(actor, "session.end", "session", ids.text(session), {"user": user.email, "why": why})
    return bool(ended)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
