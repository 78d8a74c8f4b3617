"""Forgotten passwords: a token by e-mail, good once and for half an hour."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from messagebroker.db.connection import connected
from messagebroker.db.models import PasswordReset, User
from messagebroker.errors import Refused
from messagebroker.ops import audit, clock, passwords, stored_passwords, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change, locked
from messagebroker.ops.user_lock import locked_user
from messagebroker.settings import Settings

LIFE = timedelta(minutes=30)
PACE = timedelta(minutes=10)
"""Between two e-mails to one person: whoever asks all the time fills no mailbox, and voids no code before it was used."""
_KEPT = timedelta(days=7)
SUBJECT = "Message Broker: choose a new password"
TEXT = """\
Somebody, we hope you, asked for a new password for {email}.

Open {portal}/reset, and enter this code and your new password there:

    {token}

The code is good once, until {until:%H:%M} UTC. If you did not ask, do nothing: your password stays as it is.
"""


class WrongToken(Refused):
    """The token was never made, was used, or is too old."""


def mail_token(settings: Settings, typed: str, actor: Actor) -> bool:
    """Sends a token to the user of this address; earlier ones are void. Whether one was sent.

    None is when there is no such user, and when the last one was sent less than `PACE` ago.

    Raises:
        BrokerError: as `mail.send`; the token is void then.
    """
    token, now = secrets.token_urlsafe(32), clock.now()
    with change():
        user = _user_of(typed)
        if user is None or _unused(user).where(PasswordReset.created_at > now - PACE).exists():
            return False
        stored_passwords.void_codes(user)
        PasswordReset.insert(token_hash=_hash(token), user=user.id, created_at=now, expires_at=now + LIFE).execute()
        audit.record_by(actor, "user.forgot-password", "user", user.email)
    text = TEXT.format(email=user.email, portal=_portal(settings), token=token, until=now + LIFE)
    from messagebroker.ops import mail  # loads what sends; main knows for a long time only that it could

    try:
        mail.send(settings, user.email, SUBJECT, text)
    except BaseException:  # so that the next attempt need not wait
        with connected():
            PasswordReset.delete().where(PasswordReset.token_hash == _hash(token)).execute()
        raise
    return True


def reset(token: str, new: str, *, address: str | None = None, user_agent: str | None = None) -> User:
    """Sets the password of who holds a token, and ends their sessions; the user. A second factor stays.

    Raises:
        WrongToken: it is not good, or not any more.
        WeakPassword: the new password will not do; the token stays good.
    """
    holder = _holder(token)
    passwords.check(new, holder.email)
    stored = passwords.hashed(new)  # before the transaction: it takes long
    with change():
        locked_user(holder.id)
        user = _holder(token, taking=True)
        used = {"used_at": clock.now(), "used_from": audit.ascii_text(address, 45)}
        PasswordReset.update(used).where(PasswordReset.token_hash == _hash(token)).execute()
        actor = Actor(name=f"user:{user.email}", address=address, user_agent=user_agent)
        return stored_passwords.store(user, stored, must_change=False, actor=actor, action="user.mailed-password")


def forget_old() -> int:
    """Removes tokens that ended a week ago; how many."""
    with connected():
        return int(PasswordReset.delete().where(PasswordReset.expires_at < clock.now() - _KEPT).execute())


def _user_of(typed: str) -> User | None:
    """Locked, so that two who ask at once send one e-mail."""
    found = [user for user in users.of_address(typed) if user.disabled_at is None]
    return locked_user(found[0].id) if found else None


def _unused(user: User) -> Any:
    return PasswordReset.select().where(PasswordReset.user == user.id, PasswordReset.used_at.is_null())


def _holder(token: str, *, taking: bool = False) -> User:
    query = PasswordReset.select().where(
        PasswordReset.token_hash == _hash(token), PasswordReset.used_at.is_null(), PasswordReset.expires_at > clock.now()
    )
    with connected():
        row = (locked(query) if taking else query).first()
        user = None if row is None else User.get_or_none(User.id == row.user_id, User.disabled_at.is_null())
    if user is None:
        raise WrongToken("this code is not good, or not any more; ask for a new one")
    return user


def _portal(settings: Settings) -> str:
    return (settings.portal_public_url or settings.url_of("portal")).rstrip("/")


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
